"""The way from one layer of a model down to the pixels, as TensorFlow graphs."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from zfkeras.deconvnet.reverse import Signal, as_dense, blank
from zfkeras.deconvnet.rules import Call, OneChannel, Rules, has_logits, rules_for
from zfkeras.graph.layer_kinds import kind_of, preactivation
from zfkeras.graph.walking import IMAGES, Graph, Step, Values
from zfkeras.types import Tensor

_ROWS = tf.TensorSpec((None,), tf.int32)


def _logits(graph: Graph, target: int, user: Rules) -> int:
    """The value that a softmax or sigmoid of its own was taken of; any other is its own."""
    maker = next((step for step in graph.steps if target in step.outputs), None)
    is_alone = maker is not None and kind_of(maker).linear is None and has_logits(maker, user)
    return maker.inputs[0] if maker is not None and is_alone else target


class BackwardPass:
    """The way from one layer down to the pixels: its steps, their rules, its traced functions."""

    def __init__(self, graph: Graph, layer: str, method: str, overlap: str, user: Rules) -> None:
        self.layer, self.graph = layer, graph
        self.target = _logits(graph, graph.find(layer), user)
        self.depth = _check_target(graph.shapes[self.target], layer)
        self.steps = graph.steps_to(self.target)
        head = self.steps[-1]
        self.from_logits = has_logits(head, user)
        self.rules = {step: rules_for(step, method, overlap, user) for step in self.steps[:-1]}
        self.rules[head] = rules_for(head, method, overlap, user, from_logits=self.from_logits)
        self.read = {i for step in self.steps for i in self._reads(step)}
        self._made: dict[Any, Any] = {}
        self.projected = 0  # single units, in all calls

    def _reads(self, step: Step) -> Iterator[int]:
        """The values that the rules of `step` need to know."""
        for rule in self.rules[step]:
            yield from step.inputs if "inputs" in rule.reads else ()
            yield from step.outputs if "output" in rule.reads else ()

    def up(self, images: Tensor) -> tuple[Tensor, Values]:
        """The layer's maps (N, K, h, w) and what the way down has to know of the forward pass.

        Values that no rule reads are kept without rows, for their shape.
        """
        values = self.graph.run(images, self.steps)
        start = values[self.target]
        if self.from_logits:
            start = preactivation(self.steps[-1].operation, values[self.steps[-1].inputs[0]])
        maps = start[:, None, None] if len(start.shape) == 2 else start
        kept = {i: _wide(x if i in self.read else x[:0]) for i, x in values.items()}
        return tf.transpose(_wide(maps), [0, 3, 1, 2]), kept

    def down(
        self, maps: Tensor, kept: Values, image: Tensor | None, channel: Tensor, unit: Tensor | None
    ) -> Tensor:
        """Projects a `unit` (flat position) of a `channel` of an `image`, int32 (B,) each.

        Without `image`, of each image once; without `unit`, the whole map.
        """
        if image is None:
            image = tf.range(tf.shape(maps)[0])
        else:
            kept = {i: tf.gather(x, image) if i in self.read else x for i, x in kept.items()}
        seed = tf.gather_nd(maps, tf.stack([image, channel], 1))
        if unit is not None:
            seed *= tf.reshape(tf.one_hot(unit, tf.size(seed[0]), dtype=seed.dtype), tf.shape(seed))
        return tf.cast(self.descend(OneChannel(seed, channel, self.depth), kept), tf.float32)

    def descend(self, seed: OneChannel, kept: Values) -> Tensor:
        """Takes a signal from the layer down to the pixels, step by step."""
        is_dense = len(kept[self.target].shape) == 2
        signals: dict[int, Signal] = {self.target: seed.dense()[:, 0, 0] if is_dense else seed}
        for step in reversed(self.steps):
            call = Call(step, tuple(kept[i] for i in step.inputs), kept[step.outputs[0]])
            signal = _signal_at(step, signals, kept)
            for rule in self.rules[step]:
                signal = rule(call, signal)
            for i, part in zip(step.inputs, _as_list(signal), strict=True):
                signals[i] = as_dense(signals[i]) + as_dense(part) if i in signals else part
        return as_dense(signals[IMAGES])

    def project_one(self, images: Tensor, channels: Tensor, whole: bool) -> tuple[Tensor, ...]:
        """Up and down with one channel per image, int32 (N,), -1 for its strongest.

        Returns:
            pixels, values (N,), positions (N, 2) and channels (N,).
        """
        maps, kept = self.up(images)
        peaks, units = strongest(maps)
        channels = tf.where(channels < 0, tf.argmax(peaks, 1, tf.int32), channels)
        value, unit = (tf.gather(x, channels, axis=1, batch_dims=1) for x in (peaks, units))
        pixels = self.down(maps, kept, None, channels, None if whole else unit)
        width = tf.shape(maps)[3]
        return pixels, value, tf.stack([unit // width, unit % width], 1), channels

    def project_tensors(self, images: Tensor, channels: Tensor) -> tuple[Tensor, ...]:
        """See `DeconvNet.project_tensors`."""
        count = tf.shape(images)[0]
        # oneDNN's convolutions refuse an empty batch: it gets one black image, dropped at the end.
        # (Appended, not padded: oneDNN fuses any `tf.pad` before a convolution into its margins.)
        spare = tf.cast(count == 0, tf.int32)
        black = tf.zeros(tf.concat([[spare], tf.shape(images)[1:]], 0), self.graph.dtype)
        images = tf.concat([tf.cast(images, self.graph.dtype), black], 0)
        channels = tf.concat([tf.cast(channels, tf.int32), tf.zeros([spare], tf.int32)], 0)
        allowed = tf.debugging.assert_equal(
            tf.reduce_all((channels >= -1) & (channels < self.depth)),
            True,
            f"`channels` must be -1 (the strongest) or 0 to {self.depth - 1}",
        )
        with tf.control_dependencies([] if allowed is None else [allowed]):
            channels = tf.identity(channels)  # or a gather may fail first, with less to say
        return tuple(x[:count] for x in self.project_one(images, channels, whole=False))

    def traced_project_one(self, size: tuple[int, ...], whole: bool) -> Any:
        """`project_one` as one graph for any number of images of `size`, (H, W, C)."""
        return self._trace(
            ("project_one", size, whole),
            lambda images, channels: self.project_one(images, channels, whole),
            lambda: (self._images(size), _ROWS),
        )

    def traced_up(self, size: tuple[int, ...]) -> Any:
        """`up` as one graph for any number of images of `size`."""
        return self._trace(("up", size), self.up, lambda: (self._images(size),))

    def traced_down(self, size: tuple[int, ...], whole: bool) -> Any:
        """`down` as one graph of (maps, kept, image, channel, unit) for any number of units.

        Projects the `whole` map, without regard to `unit`.
        """
        return self._trace(
            ("down", size, whole),
            lambda maps, kept, image, channel, unit: self.down(
                maps, kept, image, channel, None if whole else unit
            ),
            lambda: (
                *tf.nest.map_structure(_spec, self.traced_up(size).structured_outputs),
                *[_ROWS] * 3,
            ),
        )

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        """What `make` makes, which is made on the first call and kept under `key`."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _trace(self, key: object, function: Callable, specs: Callable[[], tuple]) -> Any:
        traced = tf.function(function, autograph=False)
        return self.once(key, lambda: traced.get_concrete_function(*specs()))

    def _images(self, size: tuple[int, ...]) -> tf.TensorSpec:
        return tf.TensorSpec((None, *size), self.graph.dtype)


def strongest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Each map's maximum (N, K) and its flat position, the first among equals."""
    flat = tf.reshape(maps, [tf.shape(maps)[0], maps.shape[1], -1])
    units = tf.argmax(flat, 2, tf.int32)
    return tf.gather(flat, units, axis=2, batch_dims=2), units


def _signal_at(step: Step, signals: dict[int, Signal], kept: Values) -> Signal:
    """The signal at a step's output; a list where it has several, zeros where none came down."""
    found = [signals.pop(i, None) for i in step.outputs]
    if len(found) == 1:
        return found[0]
    some = as_dense(next(x for x in found if x is not None))
    pairs = zip(found, step.outputs, strict=True)
    return [blank(kept[i], some) if x is None else as_dense(x) for x, i in pairs]


def _as_list(signal: Tensor) -> list[Signal]:
    return list(signal) if isinstance(signal, list | tuple) else [signal]


def _wide(x: Tensor) -> Tensor:
    """The precision of the way down: that of the activation, but at least float32."""
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _spec(x: Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(x.shape, x.dtype)


def _check_target(shape: tuple, layer: str) -> int:
    """The number of channels to project from."""
    if len(shape) not in (2, 4) or shape[-1] is None:
        raise ValueError(
            "`layer` must have feature maps, (N, h, w, K), or be dense, (N, K), with K known. "
            f"Received: layer={layer!r}, whose output is of shape {shape}"
        )
    return shape[-1]

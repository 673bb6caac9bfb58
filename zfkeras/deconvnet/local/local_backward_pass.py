"""The way from one layer down to the pixels on crops, as TensorFlow graphs."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from zfkeras.deconvnet.backward_pass import BackwardPass
from zfkeras.deconvnet.local.boxes import UnitBoxes
from zfkeras.deconvnet.local.crops import Crops, as_table
from zfkeras.deconvnet.local.local_rules import LocalRule, rule_on_crops
from zfkeras.graph.kinds import Role
from zfkeras.graph.layer_kinds import kind_of
from zfkeras.graph.walking import IMAGES, Step
from zfkeras.regions.windows import HERE
from zfkeras.types import Tensor

Tables = dict[int, Tensor]
FEW_BYTES = 16 * 2**20  # of weights that may be constants: TensorFlow and oneDNN copy these


class NotLocal(ValueError):
    """Something on the way isn't known to work on crops."""


class LocalBackwardPass:
    """The way down on crops: images go up whole, once; each unit gathers its crops from them.

    Attributes:
        way: The way down on whole maps.
        geometry: The boxes on the way.
        depths: Channels of each value.
        values: The V values on the way.
    """

    def __init__(self, way: BackwardPass, size: tuple[int, int, int]) -> None:
        """Compiles `way` for images of `size`, (H, W, C).

        Raises:
            NotLocal: The way holds a layer that isn't known to be local.
        """
        self.way = way
        shapes: dict[int, tuple[int, ...]] = {}

        def up(images: Tensor) -> tuple[Tensor, Tables]:
            maps, kept = way.up(images)
            shapes.update({i: tuple(x.shape[1:]) for i, x in kept.items()})
            return maps, {i: as_table(kept[i]) for i in way.read if len(shapes[i]) == 3}

        images = tf.TensorSpec((None, *size), way.graph.dtype)
        self._up = tf.function(up, autograph=False).get_concrete_function(images)
        if any(len(shape) != 3 for shape in shapes.values()):
            flat = [step.path for step in way.steps if len(shapes[step.outputs[0]]) != 3]
            raise NotLocal(f"Layer '{flat[0]}' makes no maps, so its units see the whole image")
        self.depths = {i: shape[2] for i, shape in shapes.items()}
        self.values = sorted(shapes)
        self._cut = self._values_to_cut()
        sizes = {i: (shape[0], shape[1]) for i, shape in shapes.items()}
        try:
            self.geometry = UnitBoxes.of(way.steps, way.target, sizes, self._in_place(sizes))
        except ValueError as error:
            raise NotLocal(str(error)) from error
        self._rules = {step: self._on_crops(step) for step in way.steps}
        self._freeze(self._weights())

    def up(self, images: np.ndarray) -> tuple[Tensor, Tables]:
        """Takes images (N, H, W, C) up: the layer's maps and what the rules read on the way down.

        A way down with few weights has them as constants, which TensorFlow arranges but once.
        Should they have changed since it was traced, it is traced anew.
        """
        kernels = self._weights()
        if not all(_same(kernels[step], self._kernels[step]) for step in kernels):
            self._freeze(kernels)
        return self._up(tf.constant(images))

    def _freeze(self, kernels: Mapping[Step, np.ndarray]) -> None:
        self._kernels = {step: kernel.copy() for step, kernel in kernels.items()}
        self.down = self._traced_down()

    def _weights(self) -> dict[Step, np.ndarray]:
        """The convolutions' weights as they are now, without a copy; nothing if they are many."""
        operations = {step: step.operation for step in self.way.steps}
        kernels = {
            step: np.asarray(tf.convert_to_tensor(layer.kernel))
            for step, layer in operations.items()
            if kind_of(step).role is Role.CONVOLUTION
        }
        few = sum(kernel.nbytes for kernel in kernels.values()) <= FEW_BYTES
        return kernels if few else {}

    @property
    def bytes_per_image(self) -> int:
        """What is kept of each image on its way up."""
        sizes, read = self.geometry.sizes, self._up.structured_outputs[1]
        return 4 * sum(sizes[i][0] * sizes[i][1] * self.depths[i] for i in read)

    @property
    def work(self) -> np.ndarray:
        """Multiply-adds of the convolutions for each of their output units, (V,)."""
        makers = {step.outputs[0]: step.operation for step in self.way.steps}
        return np.array([_weights_of(makers.get(i)) for i in self.values], float)

    def boxes(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and sizes of the boxes of units at `positions` (U, 2): (V, U, 2) each."""
        ends = []
        for axis in (0, 1):
            places, unit = np.unique(positions[:, axis], return_inverse=True)
            intervals = self.geometry.intervals(axis, places, self._cut)
            ends.append(np.array([intervals[i] for i in self.values])[:, :, unit])
        low, high = np.moveaxis(np.stack(ends, -1), 1, 0)
        return low, high - low

    def _in_place(self, sizes: Mapping[int, tuple[int, int]]) -> set[Step]:
        """Steps whose rules leave the signal in its place, even where the layer is unknown."""
        return {
            step
            for step in self.way.steps
            if all(rule.in_place for rule in self.way.rules[step])
            and len({sizes[i] for i in (*step.inputs, *step.outputs)}) == 1
        }

    def _values_to_cut(self) -> set[int]:
        """Those with work below them: to cut pixels would save nothing."""
        cheap = {IMAGES}
        for step in self.way.steps:
            if not _weights_of(step.operation) and cheap.issuperset(step.inputs):
                cheap.update(step.outputs)
        return set(self.values) - cheap

    def _on_crops(self, step: Step) -> list[LocalRule]:
        *before, last = self.way.rules[step]  # before the layer itself, its built-in activation
        downs = [rule_on_crops(step, rule, HERE) for rule in before]
        downs.append(rule_on_crops(step, last, self.geometry.windows[step]))
        if None in downs or len(step.outputs) > 1:
            kind = type(step.operation).__name__
            raise NotLocal(f"Layer '{step.path}' of type {kind} has no reverse rule on crops")
        return downs  # type: ignore[return-value]

    def _mixes(self, i: int) -> bool:
        """Whether, on its way down from value `i`, a signal outside the map gets inside.

        The pixels outside the image are left out in the end.
        """
        makers = [step for step in self.way.steps if i in step.outputs]
        if not makers:  # the images
            return False
        (step,) = makers
        if self.geometry.windows[step].size != (1, 1) or self._crops(step):
            return True
        return not self._rules[step][-1].spills and any(map(self._mixes, step.inputs))

    def _crops(self, step: Step) -> bool:
        """Whether what is outside the output's map can be inside the input's."""
        window = self.geometry.windows[step]
        inputs, outputs = (self.geometry.sizes[i] for i in (step.inputs[0], step.outputs[0]))
        return any(
            -stride >= before or length * stride - before < below
            for stride, before, length, below in zip(
                window.strides, window.before, outputs, inputs, strict=True
            )
        )

    def _traced_down(self) -> Callable:
        """`_down` as one graph for any number of units and any boxes."""
        maps, tables = self._up.structured_outputs
        some = tf.TensorSpec((None,), tf.int32)
        traced = tf.function(self._down, autograph=False)
        return traced.get_concrete_function(
            {i: tf.TensorSpec(x.shape, x.dtype) for i, x in tables.items()},
            tf.TensorSpec((None,), maps.dtype),
            some,
            some,
            tf.TensorSpec((len(self.values), None, 2), tf.int32),
            tf.TensorSpec((len(self.values), 2), tf.int32),
        )

    def _down(
        self,
        tables: Tables,
        values: Tensor,
        image: Tensor,
        channel: Tensor,
        origins: Tensor,
        sizes: Tensor,
    ) -> Tensor:
        """Projections (B, h, w, C) of units of these values, in the pixels' boxes."""
        boxes = {i: (origins[n], sizes[n]) for n, i in enumerate(self.values)}
        crops = Crops(self.geometry, self.depths, tables, boxes, self._kernels, image)
        hot = tf.one_hot(channel, self.depths[self.way.target], dtype=values.dtype)
        pixels = self._descend((hot * values[:, None])[:, None, None], crops)
        return tf.cast(pixels, tf.float32)

    def _descend(self, seed: Tensor, crops: Crops) -> Tensor:
        signals = {self.way.target: seed}
        for step in reversed(self.way.steps):
            signal: Any = signals.pop(step.outputs[0])
            for down in self._rules[step]:
                signal = down.rule(crops, signal)
            parts = signal if isinstance(signal, list | tuple) else [signal]
            for i, part in zip(step.inputs, parts, strict=True):
                landed = self._land(step, i, part, crops)
                signals[i] = signals[i] + landed if i in signals else landed
        return signals[IMAGES]

    def _land(self, step: Step, i: int, part: Tensor, crops: Crops) -> Tensor:
        """What a step sends to one of its inputs, in that input's boxes."""
        if not self._stays(step, i):
            box = crops.under(self.geometry.windows[step], crops.boxes[step.outputs[0]])
            part = crops.move(part, box, i)
        return crops.mask(part, i) if self._rules[step][-1].spills and self._mixes(i) else part

    def _stays(self, step: Step, i: int) -> bool:
        """Whether the boxes of a step's input are what the boxes of its output see."""
        if len([other for other in self.way.steps if i in other.inputs]) > 1:
            return False
        window, sizes = self.geometry.windows[step], self.geometry.sizes
        in_place = window == HERE and sizes[i] == sizes[step.outputs[0]]
        return in_place or (window.size == window.strides == (1, 1) and i not in self._cut)


def _weights_of(operation: keras.Operation) -> int:
    """How many weights a convolution has; 0 for any other operation."""
    names = "kernel", "depthwise_kernel", "pointwise_kernel"
    kernels = [getattr(operation, name, None) for name in names]
    return sum(math.prod(kernel.shape) for kernel in kernels if kernel is not None)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits, NaN or not."""
    bits = [np.ascontiguousarray(x).view(f"u{x.itemsize}") for x in (a, b)]
    return np.array_equal(bits[0], bits[1])

"""The deconvnet: any unit of any convolutional Keras model, projected down to the pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from zfkeras.data.pictures import Images
from zfkeras.deconvnet.arguments import (
    Position,
    check_channels,
    check_pixels,
    check_position,
    check_projections,
)
from zfkeras.deconvnet.backward_pass import BackwardPass
from zfkeras.deconvnet.descents import on_crops, one_each, several
from zfkeras.deconvnet.local.units import UnitJob, UnitProjections, projector_for
from zfkeras.deconvnet.rules import METHODS, OVERLAPS, Rules, check_rules, described
from zfkeras.graph.kept import Kept
from zfkeras.graph.walking import Graph, walk
from zfkeras.results import Result
from zfkeras.types import Tensor
from zfkeras.validate import choice, whole_number


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Result):
    """Projections of C units of each of N images: raw arrays.

    Attributes:
        pixels: (N, C, H, W, 3) float32, signed; zero means no influence. `zfkeras.image` turns it
            into pictures.
        values: (N, C) float32: the activation each projection starts from; of a whole map, its
            maximum.
        positions: (N, C, 2) int32: (row, column) of that activation; (0, 0) for dense layers.
        channels: (N, C) int32: the feature map.
        layer: Name of the layer.
    """

    pixels: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    channels: np.ndarray
    layer: str


class DeconvNet:
    """Projects activations of a model down to its pixels (method.md, Projection).

    The images go up through the model, which is only read; then everything but the chosen
    activation is set to zero and goes down again: max pools place values where their switches
    point, ReLUs rectify the signal, filters are transposed and biases dropped, contrast
    normalisation and dropout do nothing. No layer is skipped in silence: one without a reverse
    rule raises an error that says how to register one.

    Args:
        model: Functional or Sequential Keras model of one image input, nested in any way.
        rule: What ReLUs do to the signal: "deconvnet" rectifies it, "gradient" gates it by the
            forward activation (and differentiates contrast normalisation and whatever else has no
            rule: the plain gradient times the activation), "guided" does both.
        rules: Your own reverse rules, which go first: {layer class, activation function, or the
            name of one, of a functional operation or of an activation, such as "gelu": rule}. A
            rule is a function (call, signal) of a `zfkeras.deconvnet.rules.Call`; `rectify` and
            others there are ready to use.
        overlap: Where pooling windows share a switch, "sum" adds their values (the adjoint of
            the pooling, method.md, Unpooling), "overwrite" keeps the last.

    Raises:
        TypeError: `model` is no Keras model, or `rules` is no mapping to functions.
        ValueError: The model can't be walked, `rule` or `overlap` is unknown, a name in `rules` is
            that of nothing in the model, or Keras runs on
            another backend than TensorFlow.

    Example:
        >>> pixels = keras.Input((12, 10, 3))
        >>> maps = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(pixels)
        >>> deconv = DeconvNet(keras.Model(pixels, keras.layers.MaxPooling2D(2)(maps)))
        >>> images = np.random.default_rng(0).uniform(0, 255, (2, 12, 10, 3)).astype("float32")
        >>> deconv.project(images, "conv1", channels=[3, 0]).pixels.shape
        (2, 2, 12, 10, 3)
    """

    def __init__(
        self,
        model: keras.Model,
        rule: str = "deconvnet",
        rules: Rules | None = None,
        overlap: str = "sum",
    ) -> None:
        if (backend := keras.backend.backend()) != "tensorflow":
            needed = (
                "`DeconvNet` needs TensorFlow: set KERAS_BACKEND=tensorflow, load the model again."
            )
            raise ValueError(f"{needed} Received: backend={backend!r}")
        choice("rule", rule, METHODS)
        choice("overlap", overlap, OVERLAPS)
        own = dict(rules or {})
        same = (rule, overlap, *((key, id(way)) for key, way in own.items()))
        kept = _KEPT.get(model, same, lambda: (walk(model), own, {}))
        self.graph: Graph = kept[0]
        check_rules(rules, self.graph.steps)
        self._choices, self._ways = (rule, overlap, kept[1]), kept[2]

    @property
    def unusual_choices(self) -> tuple[str, ...]:
        """The rule, the overlap and your rules by name, without those that are the default."""
        rule, overlap, rules = self._choices
        named = (f"{described(key)}: {described(rule)}" for key, rule in rules.items())
        return (*(c for c in (rule, overlap) if c not in ("deconvnet", "sum")), *named)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers to project from: those that make feature maps or are dense."""
        shapes = self.graph.shapes
        return tuple(name for name, i in self.graph.names.items() if len(shapes[i]) in (2, 4))

    def project(
        self,
        images: Images,
        layer: str,
        channels: int | Sequence[int] | None = 1,
        position: Position = "max",
        batch_size: int = 32,
        progress: bool = False,
    ) -> Projection:
        """Projects units of a layer, for each image.

        Every image goes up once, however many channels are asked for. Once many single units have
        been projected from a layer, they go down on crops, as in `project_units`.

        Args:
            images: (N, H, W, C) pixels in the range the model takes, integers or floats; N may
                be 0.
            layer: Name of a layer with feature maps (N, h, w, K) or dense output (N, K); a dense
                layer that ends in a softmax or sigmoid is projected from its logits.
            channels: A number k for the k strongest of each image, a list of channels, or None
                for all.
            position: "max" starts from each map's strongest unit (the first in row-major order
                among equals), "all" from the whole map, (row, column) from that unit.
            batch_size: Projections computed at a time; bounds the memory.
            progress: Whether to show a progress bar.

        Returns:
            The `Projection`.

        Raises:
            TypeError: An argument of the wrong type.
            ValueError: Images, layer, channels or position don't fit the model; a layer on the way
                has no reverse rule.
        """
        way = self._way(layer)
        pixels = check_pixels(images, self.graph)
        wanted = check_channels(channels, way.depth, layer)
        position = check_position(position)
        whole_number("batch_size", batch_size)
        count = wanted if isinstance(wanted, int) else len(wanted)
        size = pixels.shape[1:]
        result = _empty(len(pixels), count, size, layer)
        each = one_each if count == 1 and isinstance(position, str) else several
        if position != "all" and self._takes_crops(way, size, len(pixels) * count):
            each = on_crops
        with tqdm(total=len(pixels) * count, unit="projection", disable=not progress) as bar:
            for first in range(0, len(pixels), batch_size):
                rows = slice(first, first + batch_size)
                done = each(way, tf.constant(pixels[rows]), wanted, position, batch_size)
                for chosen, tile, part in done:
                    check_projections(part, layer)
                    result.values[rows], result.channels[rows] = chosen.values, chosen.channels
                    result.positions[rows] = chosen.positions
                    result.pixels[rows].reshape(-1, *size)[tile] = part
                    bar.update(len(part))
        return result

    def project_units(
        self,
        images: Images,
        layer: str,
        units: ArrayLike,
        batch_size: int = 64,
        progress: bool = False,
    ) -> UnitProjections:
        """Projects single units, many times as fast as `project` and to the same result.

        The projection of a unit is confined to its receptive field, so after one forward pass for
        each image the way down is computed on crops; at the image's border what all units nearby
        can't see is cut off. That works for every way that consists of convolutions, max and
        average pools and layers that work in place, branches included; any other is computed whole
        (`UnitProjections.why_whole` tells why).

        Args:
            images: (N, H, W, C) pixels in the range the model takes, integers or floats. Only
                those named by `units` are looked at, some at a time.
            layer: Name of a layer.
            units: (U, 4) integers: image, row, column and channel of each unit, in any order; U
                may be 0. A dense layer's units are at row 0, column 0.
            batch_size: Units computed at a time.
            progress: Whether to show a progress bar.

        Returns:
            The `UnitProjections`, in the order of `units`; `iterate_units` needs less memory.

        Raises:
            TypeError: `units` aren't integers, or `images` aren't numbers.
            ValueError: Images, layer or units don't fit the model; a layer on the way has no
                reverse rule.

        Example:
            >>> pixels = keras.Input((40, 30, 3))
            >>> maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(pixels)
            >>> maps = keras.layers.MaxPooling2D(2)(maps)
            >>> maps = keras.layers.Conv2D(5, 3, activation="relu", name="conv2")(maps)
            >>> images = np.random.default_rng(0).uniform(0, 255, (2, 40, 30, 3))
            >>> deconv = DeconvNet(keras.Model(pixels, maps))
            >>> found = deconv.project_units(images, "conv2", [[0, 0, 0, 3], [1, 5, 4, 1]])
            >>> found.pixels.shape, found.boxes.tolist()
            ((2, 13, 13, 3), [[0, 0, 13, 13], [20, 16, 33, 29]])
        """
        return UnitJob(self._way(layer), images, units, batch_size).project(progress)

    def iterate_units(
        self,
        images: Images,
        layer: str,
        units: ArrayLike,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Iterator[tuple[np.ndarray, UnitProjections]]:
        """`project_units` part by part, in flat memory.

        Args:
            images: (N, H, W, C); all arguments and errors are those of `project_units`.
            layer, units: As there.
            batch_size: Units computed at a time; the size of the parts.
            progress: Whether to show a progress bar.

        Yields:
            Indices (B,) into `units` and their `UnitProjections`: each unit once, in an order that
            suits the computation (image by image, units nearby together).

        Example:
            >>> conv = keras.layers.Conv2D(2, 3, name="c")
            >>> deconv = DeconvNet(keras.Sequential([keras.Input((9, 9, 3)), conv]))
            >>> parts = deconv.iterate_units(np.ones((2, 9, 9, 3)), "c", [[1, 0, 0, 1]])
            >>> [(index.tolist(), part.pixels.shape) for index, part in parts]
            [([0], (1, 3, 3, 3))]
        """
        return UnitJob(self._way(layer), images, units, batch_size).iterate(progress)

    def why_not(self, layer: str) -> str:
        """What keeps a layer from being projected, such as a GELU; "" if nothing does."""
        try:
            self._way(layer)
        except ValueError as error:
            return str(error)
        return ""

    def why_whole(self, layer: str) -> str:
        """Why `project_units` needs whole images, of a model of fixed size; "" if it doesn't."""
        return projector_for(self._way(layer), self.graph.image_shape).why_whole

    def project_tensors(
        self, images: Tensor, layer: str, channels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Projects the strongest unit of one channel per image; for use inside a `tf.function`.

        Args:
            images: float tensor (N, H, W, C); N may be 0 and unknown.
            layer: Name of the layer.
            channels: int32 tensor (N,): a channel for each image, -1 for its strongest.

        Returns:
            pixels (N, H, W, C), values (N,), positions (N, 2) int32 and channels (N,) int32.

        Raises:
            ValueError: Unknown layer, or no reverse rule for one on the way.
            tf.errors.InvalidArgumentError: A channel is outside -1 .. K - 1.
        """
        return self._way(layer).project_tensors(images, channels)

    def _takes_crops(self, way: BackwardPass, size: tuple[int, ...], count: int) -> bool:
        """Whether further units go down on crops: their graph takes long to make, then saves."""
        way.projected += count
        return way.projected >= CROPS_FROM and not projector_for(way, size).why_whole

    def _way(self, layer: str) -> BackwardPass:
        if layer not in self._ways:
            self._ways[layer] = BackwardPass(self.graph, layer, *self._choices)
        return self._ways[layer]


CROPS_FROM = 32
"""Single units from a layer, in all calls, after which crops are worth their graph (measured)."""
_KEPT: Kept[tuple[Graph, Rules, dict[str, BackwardPass]]] = Kept()

project_units, iterate_units = DeconvNet.project_units, DeconvNet.iterate_units


def _empty(images: int, channels: int, pixel_shape: tuple, layer: str) -> Projection:
    shape = (images, channels)
    return Projection(
        np.zeros((*shape, *pixel_shape), "float32"),
        np.zeros(shape, "float32"),
        np.zeros((*shape, 2), "int32"),
        np.zeros(shape, "int32"),
        layer,
    )

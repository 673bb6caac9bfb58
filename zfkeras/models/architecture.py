"""A convnet of the paper's kind as data: what it counts and how it is built.

An `Architecture` is a tuple of convolutional layers and the widths of the fully connected ones.
Its sizes, parameters and multiply-adds follow from that data alone; `build` makes the Keras model.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import keras

from zfkeras import ops
from zfkeras.constraints import FilterRMS
from zfkeras.layers import LocalResponseNormalization, MaxPoolWithArgmax2D, PixelMean
from zfkeras.types import Tensor

Padding = int | str
Initializer: TypeAlias = str | keras.initializers.Initializer | None


@dataclass(frozen=True)
class Conv:
    """One convolutional layer of the paper: filters, rectification, then `stages` in order.

    Attributes:
        index: The paper's number of the layer, such as 2, or of its block and itself, "2_1"; its
            stages are named after the number or block, such as "pool2".
        filters: Number of filters at width 1.
        kernel_size: Side of the square filters.
        strides: Step.
        padding: Zeros on every side (an int), or "ceil": as many at the right and bottom as let
            the last window fit (cuda-convnet's way).
        groups: Groups of filters that see only their part of the maps below.
        stages: What follows the rectification: "pool" (the architecture's `pool`) and "norm"
            (local response normalization), in the order they run.
        paper_bias: Initial bias under ``kernel_initializer="paper"``.
    """

    index: int | str
    filters: int
    kernel_size: int
    strides: int = 1
    padding: Padding = 0
    groups: int = 1
    stages: tuple[str, ...] = ()
    paper_bias: float = 0.0

    def stage_name(self, stage: str) -> str:
        """Name of the layer of a stage, such as "pool2" of "2_1"."""
        return f"{stage}{str(self.index).split('_')[0]}"

    def pads(self, size: int) -> ops.Pair:
        """Zeros before and after an axis of `size` pixels."""
        if self.padding == "ceil":
            return ops.ceil_padding(size, self.kernel_size, self.strides)
        return int(self.padding), int(self.padding)

    def output_size(self, size: int) -> int:
        """Length of an axis of `size` pixels after the filters, before the stages."""
        return (size + sum(self.pads(size)) - self.kernel_size) // self.strides + 1


class Row(NamedTuple):
    """A layer's line in the count: its name, output shape, parameters and multiply-adds."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


class Pool(NamedTuple):
    """Max pooling: side of the windows, step, and padding ("valid" or "ceil")."""

    size: int = 3
    strides: int = 2
    padding: str = "ceil"

    def output_size(self, size: int) -> int:
        """Length of an axis of `size` units after the pooling."""
        pads = ops.ceil_padding(size, self.size, self.strides) if self.padding == "ceil" else (0,)
        return (size + sum(pads) - self.size) // self.strides + 1


@dataclass(frozen=True)
class Architecture:
    """Convolutional layers, then fully connected ones of `fc_units`, then the classes.

    Attributes:
        convs: The convolutional layers, from the pixels up.
        fc_units: Units of fc6, fc7, ….
        paper_fc_bias: Initial bias of fc6, fc7, … under ``kernel_initializer="paper"``.
        paper_stddev: Standard deviation of the initial weights under it.
        pool: The pooling of all "pool" stages.
        mean_per_pixel: Whether the mean image is subtracted, or only its mean colour.
    """

    convs: tuple[Conv, ...]
    fc_units: tuple[int, ...] = (4096, 4096)
    paper_fc_bias: float = 0.0
    paper_stddev: float = 0.01
    pool: Pool = Pool()
    mean_per_pixel: bool = True

    def scaled(self, width: float, fc_units: int | None = None) -> "Architecture":
        """The architecture with all layers `width` times as wide, fc ones `fc_units` if given."""
        if not width > 0:
            raise ValueError(f"`width` must be > 0. Received: width={width!r}")
        groups = max(conv.groups for conv in self.convs)  # divides the maps below and above it
        convs = tuple(
            dataclasses.replace(c, filters=_scaled(c.filters, width, groups)) for c in self.convs
        )
        units = tuple(_scaled(u, width) if fc_units is None else fc_units for u in self.fc_units)
        return dataclasses.replace(self, convs=convs, fc_units=units)

    def count(self, input_shape: Sequence[int], classes: int) -> list[Row]:
        """Output shape, parameters and multiply-adds of each layer with weights.

        Multiply-adds are those of convolutions and dense layers for one image.

        Raises:
            ValueError: `input_shape` is too small for the layers.
        """
        rows, (height, width, channels) = [], input_shape
        for conv in self.convs:
            height, width = conv.output_size(height), conv.output_size(width)
            _check_size(conv, height, width, input_shape)
            weights = conv.kernel_size**2 * (channels // conv.groups) * conv.filters
            channels = conv.filters
            rows.append(
                Row(
                    f"conv{conv.index}",
                    (height, width, channels),
                    weights + channels,
                    weights * height * width,
                )
            )
            if "pool" in conv.stages:
                height, width = self.pool.output_size(height), self.pool.output_size(width)
                _check_size(conv, height, width, input_shape)
        fan_in = height * width * channels
        for name, units in zip(self._dense_names(), (*self.fc_units, classes), strict=True):
            rows.append(Row(name, (units,), (fan_in + 1) * units, fan_in * units))
            fan_in = units
        return rows

    def parameters(self, input_shape: Sequence[int], classes: int) -> int:
        """Number of weights and biases."""
        return sum(row.parameters for row in self.count(input_shape, classes))

    def macs(self, input_shape: Sequence[int], classes: int) -> int:
        """Number of multiply-adds of one image's forward pass."""
        return sum(row.macs for row in self.count(input_shape, classes))

    def build(
        self,
        *,
        input_shape: tuple[int | None, int | None, int],
        classes: int,
        include_top: bool = True,
        dropout: float = 0.5,
        classifier_activation: str | None = None,
        kernel_initializer: Initializer = None,
        max_filter_rms: float | None = 0.1,
        name: str,
    ) -> keras.Model:
        """The Keras model: a Functional graph from raw pixels (0..255) to scores.

        Layers are named as in the paper (`conv1`, `pool1`, `norm1`, …, `fc6`, `fc7`, `logits`);
        `convL` is rectified. With ``classifier_activation="softmax"`` a layer `predictions`
        follows the logits. `ZFNet`, `AlexNet` and `VGG` describe the arguments.
        """
        sizes = [size for size in input_shape if size is not None]
        fixed = len(sizes) == len(input_shape)
        if fixed:
            self.count(sizes, classes)  # raises where a map would vanish
        elif include_top:
            raise ValueError(
                "Fully connected layers need a fixed input size; allowed is a full `input_shape`, "
                f"or include_top=False. Received: input_shape={input_shape}"
            )
        initializers = _Initializers(kernel_initializer, self.paper_stddev)

        # === Layers, bottom up ===
        pixels = x = keras.Input(input_shape, name="pixels")
        x = PixelMean(per_pixel=fixed and self.mean_per_pixel, name="mean")(x)
        for conv in self.convs:
            place = "outer" if conv is self.convs[0] else "hidden"
            arguments = initializers.arguments(place, conv.paper_bias)
            x = _apply_conv(x, conv, arguments, max_filter_rms)
            for stage in conv.stages:
                x = self._stage_layer(stage, conv.stage_name(stage))(x)
        if include_top:
            x = keras.layers.Flatten(name="flatten")(x)
            for layer, units in enumerate(self.fc_units, FIRST_FC):
                dense = initializers.arguments("hidden", self.paper_fc_bias)
                x = keras.layers.Dense(units, activation="relu", name=f"fc{layer}", **dense)(x)
                x = keras.layers.Dropout(dropout, name=f"drop{layer}")(x)
            # Losses and probabilities want float32 even where the net computes in 16 bits.
            outer = {"dtype": "float32"} | initializers.arguments("outer")
            x = keras.layers.Dense(classes, name="logits", **outer)(x)
            if classifier_activation is not None:
                x = keras.layers.Activation(
                    classifier_activation, dtype="float32", name="predictions"
                )(x)
        return keras.Model(pixels, x, name=name)

    def _stage_layer(self, stage: str, name: str) -> keras.layers.Layer:
        if stage == "pool":
            return MaxPoolWithArgmax2D(*self.pool, name=name)
        return LocalResponseNormalization(name=name)

    def _dense_names(self) -> list[str]:
        return [f"fc{FIRST_FC + i}" for i in range(len(self.fc_units))] + ["logits"]


FIRST_FC = 6


@dataclass(frozen=True)
class _Initializers:
    """Initial weights: ours by default, the paper's normal ones by name, or any of Keras'.

    The paper's standard deviation suits its own widths only: in a narrower net the signal fades.
    Ours draws hidden layers after He et al. (2015) and keeps the paper's 0.01 for the layer that
    sees pixels of ±128 and for the one that gives the logits ("outer" layers).
    """

    chosen: Any
    paper_stddev: float = 0.01

    def arguments(self, place: str, paper_bias: float = 0.0) -> dict[str, Any]:
        """The kernel and bias initializers of a layer."""
        if self.chosen == "paper":
            bias = keras.initializers.Constant(paper_bias)
            return {"kernel_initializer": _normal(self.paper_stddev), "bias_initializer": bias}
        if self.chosen is not None:
            return {"kernel_initializer": keras.initializers.get(self.chosen)}
        return {"kernel_initializer": _normal() if place == "outer" else "he_normal"}


def _normal(stddev: float = 0.01) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev)


def _apply_conv(
    x: Tensor, conv: Conv, initializers: dict[str, Any], max_rms: float | None
) -> Tensor:
    """Padding and filters with rectification."""
    same = conv.strides == 1 and conv.padding == conv.kernel_size // 2 and conv.kernel_size % 2
    if not same:
        x = _apply_padding(x, conv)
    return keras.layers.Conv2D(
        conv.filters,
        conv.kernel_size,
        conv.strides,
        padding="same" if same else "valid",
        groups=conv.groups,
        activation="relu",
        kernel_constraint=None if max_rms is None else FilterRMS(max_rms),
        name=f"conv{conv.index}",
        **initializers,
    )(x)


def _apply_padding(x: Tensor, conv: Conv) -> Tensor:
    if None in x.shape[1:3] and conv.padding == "ceil":
        raise ValueError(
            "Padding as cuda-convnet does depends on the input size; allowed is a full "
            f"`input_shape`, or the symmetric alignment. Received: input_shape={x.shape[1:]}"
        )
    pads = [conv.pads(size or 0) for size in x.shape[1:3]]
    if not any(map(sum, pads)):
        return x
    return keras.layers.ZeroPadding2D(pads, name=f"conv{conv.index}_pad")(x)


def _scaled(units: int, width: float, groups: int = 1) -> int:
    """`units` times `width`, rounded to a multiple of `groups`, at least one per group."""
    return max(1, math.floor(units * width / groups + 0.5)) * groups


def _check_size(conv: Conv, height: int, width: int, input_shape: Sequence[int]) -> None:
    if min(height, width) < 1:
        raise ValueError(
            f"`input_shape` is too small: the maps of conv{conv.index} would be {height}x{width}, "
            f"and at least 1x1 is needed. Received: input_shape={tuple(input_shape)}"
        )

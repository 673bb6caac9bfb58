"""Which operations a layer consists of, by its kind; what is not local runs on whole maps.

So does what follows it: a layer that nothing is known of costs time, but is never wrong.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.operations import (
    MOVE,
    Affine,
    GlobalAverage,
    Merge,
    Operation,
    PointConvolution,
    Pointwise,
    Resample,
    Weights,
)
from zfkeras.analysis.incremental.sliding import (
    AveragePooling,
    Convolution,
    DepthwiseConvolution,
    MapDense,
    MaxPooling,
)
from zfkeras.graph.kinds import Kind, Role
from zfkeras.graph.layer_kinds import activation_kind, kind_of, preactivation, windows_of
from zfkeras.graph.layer_windows import pair
from zfkeras.graph.walking import Step
from zfkeras.regions.windows import Window, Windows
from zfkeras.types import Pair, Tensor

Shapes = Sequence[tuple[int | None, ...]]
_DEEP = 16  # channels from which on taps skipped are worth a convolution's slower edges (measured)


class Stage(NamedTuple):
    """One of the operations that a layer consists of, in a row.

    Attributes:
        operation: Its class.
        function: From whole maps to the whole map.
        settings: The class' other arguments.
    """

    operation: type[Operation]
    function: Callable
    settings: Mapping[str, Any] = MappingProxyType({})


def stages(step: Step, shapes: Shapes) -> list[Stage]:
    """The operations a step consists of.

    Args:
        step: A step of a graph.
        shapes: The declared shapes of the graph's values, by number.
    """
    kind, maps = kind_of(step), [shapes[i] for i in step.inputs]
    is_local = len(step.outputs) == 1 and {len(shape) for shape in maps} == {4}
    if not is_local or not _is_float32(step.operation):
        return [Stage(Operation, step)]
    special = _STAGES.get(kind.role)
    found = special(step.operation, step) if special else None
    return found or _in_place(kind, step) or [Stage(Operation, step)]


def _is_float32(operation: keras.Operation) -> bool:
    of_layer = getattr(operation, "compute_dtype", None)
    return (of_layer or getattr(operation, "dtype", None) or "float32") == "float32"


def _in_place(kind: Kind, step: Step) -> list[Stage]:
    """What any layer consists of that does the same in every place by itself."""
    if not kind.is_pointwise:
        return []
    if len(step.inputs) > 1:
        return [Stage(Merge, step, {"linear": kind.role is Role.MERGE})]
    if kind.role in (Role.NEUTRAL, Role.SHIFT):
        return [Stage(Affine, step)]
    return [Stage(Pointwise, step, _of_nonlinearity(kind))]


def _of_nonlinearity(kind: Kind) -> dict[str, Any]:
    is_relu = kind.role is Role.RELU
    return {"by_channel": is_relu or kind.role is Role.ELEMENTWISE, "is_cheap": is_relu}


def _activation(function: Callable) -> list[Stage]:
    """An activation as a stage; none for the identity."""
    kind = activation_kind(function)
    if kind.role is Role.NEUTRAL:
        return []
    if not kind.is_pointwise:
        return [Stage(Operation, function)]
    return [Stage(Pointwise, function, _of_nonlinearity(kind))]


# === Layers with weights ===


def _weights(layer: keras.Layer, name: str, *shape: int) -> Weights:
    """A layer's weights in float32; zeros where it has none.

    They are read from the layer by name each time: what it trains, or a LoRA adds, is in them.
    """

    def read() -> Tensor:
        variable = getattr(layer, name)
        if variable is None:
            return tf.zeros(shape)
        return tf.cast(keras.ops.convert_to_tensor(variable), tf.float32)

    return read


def _linear(layer: keras.Layer) -> Callable:
    """A layer without its activation."""
    return lambda x: preactivation(layer, x)


def _convolution(layer: keras.Layer, _: Step) -> list[Stage]:
    if layer.kernel_size == (1, 1) and layer.groups == 1:
        return _point_convolution(layer, "kernel", layer.strides)
    depth, filters = layer.kernel.shape[2:]
    settings = _sliding(layer) | {
        "weight": float(depth * filters),
        "skips": (depth >= _DEEP,) * 2,
        "kernel": _weights(layer, "kernel"),
        "bias": _weights(layer, "bias", filters),
        "groups": layer.groups,
    }
    return [Stage(Convolution, _linear(layer), settings), *_activation(layer.activation)]


def _point_convolution(layer: keras.Layer, name: str, strides: Pair) -> list[Stage]:
    """A 1x1 convolution with the kernel of this name, after which comes the layer's activation."""
    kernel = _weights(layer, name)

    def whole(x: Tensor) -> Tensor:
        made = keras.ops.conv(x, getattr(layer, name), padding="valid")
        return made if layer.bias is None else made + layer.bias

    rows, columns = strides
    skipped = Stage(
        Resample,
        lambda x: x[:, ::rows, ::columns],
        {"over": lambda _: Windows(Window(stride=rows), Window(stride=columns))},
    )
    product = Stage(PointConvolution, whole, {"kernel": lambda: tf.squeeze(kernel(), [0, 1])})
    return [
        *([] if (rows, columns) == (1, 1) else [skipped]),
        product,
        *_activation(layer.activation),
    ]


def _sliding(layer: keras.Layer) -> dict[str, Any]:
    """A convolution's window as `Sliding` names it."""
    return {
        "size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
    }


def _dense(layer: keras.Layer, _: Step) -> list[Stage]:
    product = Stage(PointConvolution, _linear(layer), {"kernel": _weights(layer, "kernel")})
    return [product, *_activation(layer.activation)]


def flat_dense(flatten: Step, dense: Step, shape: tuple[int | None, ...]) -> list[Stage]:
    """A dense layer on a flattened map of this shape; nothing if they are something else."""
    layer = dense.operation
    is_flat = isinstance(flatten.operation, keras.layers.Flatten) and kind_of(flatten).is_affine
    if not is_flat or kind_of(dense).role is not Role.DENSE or not _is_float32(layer):
        return []
    if len(shape) != 4 or None in shape[1:]:
        return []
    _, height, width, depth = shape
    settings = {
        "size": (height, width),
        "strides": (1, 1),
        "padding": "valid",
        "weight": float((depth or 0) * layer.units),
        "skips": (True, False),
        "kernel": _weights(layer, "kernel"),
    }
    linear = _linear(layer)
    return [
        Stage(MapDense, lambda x: linear(flatten(x)), settings),
        *_activation(layer.activation),
    ]


def _depthwise(layer: keras.Layer, _: Step) -> list[Stage]:
    first = _depthwise_convolution(layer, "kernel", has_bias=True)
    return first and [*first, *_activation(layer.activation)]


def _depthwise_convolution(layer: keras.Layer, name: str, has_bias: bool) -> list[Stage]:
    if layer.strides[0] != layer.strides[1]:
        return []  # TensorFlow wants one stride

    def whole(x: Tensor) -> Tensor:
        options = layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        made = keras.ops.depthwise_conv(x, getattr(layer, name), *options)
        return made + layer.bias if has_bias and layer.bias is not None else made

    depth, multiplier = getattr(layer, name).shape[2:]
    settings = {"weight": MOVE * depth * multiplier, "kernel": _weights(layer, name)}
    return [Stage(DepthwiseConvolution, whole, _sliding(layer) | settings)]


def _separable(layer: keras.Layer, _: Step) -> list[Stage]:
    first = _depthwise_convolution(layer, "depthwise_kernel", has_bias=False)
    return first and [*first, *_point_convolution(layer, "pointwise_kernel", (1, 1))]


def _scale(layer: keras.Layer, step: Step) -> list[Stage]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return _batch_normalization(layer, step)
    if isinstance(layer, keras.layers.Rescaling):
        return _scaled(np.shape(layer.scale), lambda: tf.constant(layer.scale, tf.float32), step)
    if isinstance(layer, keras.layers.Normalization) and not layer.invert:
        variance, least = _weights(layer, "variance"), keras.config.epsilon()
        shape = tuple(layer.variance.shape)
        return _scaled(shape, lambda: 1 / tf.maximum(tf.sqrt(variance()), least), step)
    return []


def _batch_normalization(layer: keras.Layer, step: Step) -> list[Stage]:
    if not kind_of(step).is_uniform:
        return []
    mean, variance = _weights(layer, "moving_mean"), _weights(layer, "moving_variance")
    gamma, beta = _weights(layer, "gamma"), _weights(layer, "beta")

    def scale() -> Tensor:
        exact = tf.math.rsqrt(tf.cast(variance(), tf.float64) + layer.epsilon)
        exact = exact * tf.cast(gamma(), tf.float64) if layer.scale else exact
        return tf.cast(exact, tf.float32)

    def shift() -> Tensor:
        return (beta() if layer.center else 0) - mean() * scale()

    return [Stage(Affine, step, {"scale": scale, "shift": shift})]


def _scaled(shape: tuple[int, ...], scale: Weights, step: Step) -> list[Stage]:
    if np.prod(shape) not in (1, shape[-1] if shape else 1):
        return []  # a factor for each place
    return [Stage(Affine, step, {"scale": lambda: tf.reshape(scale(), [-1])})]


# === Layers without ===


def _max_pooling(layer: keras.Layer, step: Step) -> list[Stage]:
    return [Stage(MaxPooling, step, _pooling(layer) | {"nearest": True})]


def _average_pooling(layer: keras.Layer, step: Step) -> list[Stage]:
    return [Stage(AveragePooling, step, _pooling(layer))]


def _pooling(layer: keras.Layer) -> dict[str, Any]:
    size = pair(layer.pool_size)
    return {
        "size": size,
        "strides": pair(layer.strides or size),
        "padding": layer.padding,
        "weight": MOVE,
    }


def _move(layer: keras.Layer, step: Step) -> list[Stage]:
    if getattr(layer, "interpolation", "nearest") != "nearest":
        return []
    return [Stage(Resample, step, {"over": functools.partial(windows_of, step)})]


def _global_average(_: keras.Layer, step: Step) -> list[Stage]:
    return [Stage(GlobalAverage, step)]


_STAGES: dict[Role, Callable[[Any, Step], list[Stage]]] = {
    Role.CONVOLUTION: _convolution,
    Role.DENSE: _dense,
    Role.DEPTHWISE: _depthwise,
    Role.SEPARABLE: _separable,
    Role.SCALE: _scale,
    Role.MAX_POOL: _max_pooling,
    Role.AVERAGE_POOL: _average_pooling,
    Role.MOVE: _move,
    Role.GLOBAL_AVERAGE: _global_average,
}

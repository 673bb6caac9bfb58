"""Which operations a layer consists of, by its kind; what is not local runs on whole maps.

So does what follows it: a layer that nothing is known of costs time, but is never wrong.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np

from zfkeras.analysis.incremental.operations import (
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
_MOVE = 8.0  # multiply-adds that moving one number costs, about


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


def _weights(variable: Tensor, *shape: int) -> Weights:
    """A layer's weights as they are now; zeros where it has none."""
    if variable is None:
        return np.zeros(shape, np.float32)
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _linear(layer: keras.Layer) -> Callable:
    """A layer without its activation."""
    return lambda x: preactivation(layer, x)


def _convolution(layer: keras.Layer, _: Step) -> list[Stage]:
    kernel = _weights(layer.kernel)
    if layer.kernel_size == (1, 1) and layer.groups == 1:
        return _point_convolution(layer, layer.kernel, layer.bias, layer.strides)
    settings = _sliding(layer) | {
        "weight": float(kernel.shape[2] * kernel.shape[3]),
        "skips": (_is_deep(kernel),) * 2,
        "kernel": kernel,
        "bias": _weights(layer.bias, layer.filters),
        "groups": layer.groups,
    }
    return [Stage(Convolution, _linear(layer), settings), *_activation(layer.activation)]


def _point_convolution(
    layer: keras.Layer, kernel: Tensor, bias: Tensor, strides: Pair
) -> list[Stage]:
    """A 1x1 convolution, after which comes the layer's activation."""

    def whole(x: Tensor) -> Tensor:
        made = keras.ops.conv(x, kernel, padding="valid")
        return made if bias is None else made + bias

    rows, columns = strides
    skipped = Stage(
        Resample,
        lambda x: x[:, ::rows, ::columns],
        {"over": lambda _: Windows(Window(stride=rows), Window(stride=columns))},
    )
    product = Stage(PointConvolution, whole, {"kernel": _weights(kernel)[0, 0]})
    return [
        *([] if (rows, columns) == (1, 1) else [skipped]),
        product,
        *_activation(layer.activation),
    ]


def _is_deep(kernel: Weights) -> bool:
    """Whether skipped taps are worth the convolution's slower edges: not on pixels (measured)."""
    return kernel.shape[2] >= 16


def _sliding(layer: keras.Layer) -> dict[str, Any]:
    """A convolution's window as `Sliding` names it."""
    return {
        "size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
    }


def _dense(layer: keras.Layer, _: Step) -> list[Stage]:
    product = Stage(PointConvolution, _linear(layer), {"kernel": _weights(layer.kernel)})
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
        "kernel": layer.kernel,
    }
    linear = _linear(layer)
    return [
        Stage(MapDense, lambda x: linear(flatten(x)), settings),
        *_activation(layer.activation),
    ]


def _depthwise(layer: keras.Layer, _: Step) -> list[Stage]:
    first = _depthwise_convolution(layer, layer.kernel, layer.bias)
    return first and [*first, *_activation(layer.activation)]


def _depthwise_convolution(layer: keras.Layer, kernel: Tensor, bias: Tensor) -> list[Stage]:
    if layer.strides[0] != layer.strides[1]:
        return []  # TensorFlow wants one stride

    def whole(x: Tensor) -> Tensor:
        options = layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        made = keras.ops.depthwise_conv(x, kernel, *options)
        return made if bias is None else made + bias

    taps = _weights(kernel)
    settings = {"weight": _MOVE * taps.shape[2] * taps.shape[3], "kernel": taps}
    return [Stage(DepthwiseConvolution, whole, _sliding(layer) | settings)]


def _separable(layer: keras.Layer, _: Step) -> list[Stage]:
    first = _depthwise_convolution(layer, layer.depthwise_kernel, None)
    return first and [
        *first,
        *_point_convolution(layer, layer.pointwise_kernel, layer.bias, (1, 1)),
    ]


def _scale(layer: keras.Layer, step: Step) -> list[Stage]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return _batch_normalization(layer, step)
    if isinstance(layer, keras.layers.Rescaling):
        return _scaled(np.asarray(layer.scale, np.float32), step)
    if isinstance(layer, keras.layers.Normalization) and not layer.invert:
        deviation = np.sqrt(_weights(layer.variance))
        return _scaled(1 / np.maximum(deviation, keras.config.epsilon()), step)
    return []


def _batch_normalization(layer: keras.Layer, step: Step) -> list[Stage]:
    if not kind_of(step).is_uniform:
        return []
    mean, variance = _weights(layer.moving_mean), _weights(layer.moving_variance)
    scale = 1 / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    scale = scale * _weights(layer.gamma) if layer.scale else scale
    shift = (_weights(layer.beta) if layer.center else 0) - mean * scale
    settings = {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)}
    return [Stage(Affine, step, settings)]


def _scaled(scale: Weights, step: Step) -> list[Stage]:
    if scale.size not in (1, scale.shape[-1] if scale.ndim else 1):
        return []  # a factor for each place
    return [Stage(Affine, step, {"scale": scale.reshape(-1)})]


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
        "weight": _MOVE,
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

"""What a Keras layer consists of, where that is local: its stages.

Only layers of exactly the types listed here are taken for local, with exactly the activations
listed: a subclass or a custom function may do anything. All others run on whole maps, as does
what follows them, so an unknown layer costs time but is never wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any

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
from zfkeras.analysis.incremental.pointwise import POINTWISE_FUNCTIONS, Stage, activation
from zfkeras.analysis.incremental.sliding import (
    AveragePooling,
    Convolution,
    DepthwiseConvolution,
    MaxPooling,
)
from zfkeras.analysis.incremental.special import MapDense
from zfkeras.graph.walking import Step
from zfkeras.layers import LocalResponseNormalization, MaxPoolWithArgmax2D, PixelMean

Shapes = Sequence[tuple[int | None, ...]]
Rule = Callable[[Any, Step], list[Stage] | None]
_MOVE = 8.0  # multiply-adds that moving one number costs, about


def stages(step: Step, shapes: Shapes) -> list[Stage]:
    """The operations a step consists of, in a row, as (class, function, other arguments).

    Args:
        step: A step of a graph.
        shapes: The declared shapes of the graph's values, by number.
    """
    whole: list[Stage] = [(Operation, step, {})]
    maps = [shapes[i] for i in step.inputs]
    dtype = getattr(step.operation, "compute_dtype", None) or "float32"
    if dtype != "float32" or len(step.outputs) != 1 or {len(shape) for shape in maps} != {4}:
        return whole
    if not _has_plain_arguments(step):
        return whole
    if type(step.operation).__module__.startswith("keras.src.ops."):
        return _function(step) or whole
    rule = _RULES.get(type(step.operation))
    return (rule(step.operation, step) if rule else None) or whole


def _has_plain_arguments(step: Step) -> bool:
    """Whether a call has no arguments but its inputs and single numbers."""

    def is_input(value: Any) -> bool:
        return isinstance(getattr(value, "index", None), int)

    def is_plain(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return all(map(is_input, value))
        return value is None or isinstance(value, (bool, int, float, str)) or is_input(value)

    args, kwargs = step.arguments
    return all(map(is_plain, (*args, *kwargs.values())))


# === Layers ===


def _weights(variable: Any, *shape: int) -> Weights:
    """A layer's weights as they are now; zeros where it has none."""
    if variable is None:
        return np.zeros(shape, np.float32)
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _convolution(layer: Any, _: Step) -> list[Stage] | None:
    kernel = _weights(layer.kernel)
    if layer.kernel_size == (1, 1) and layer.groups == 1:
        linear = _linear(keras.ops.conv, layer.kernel, layer.bias, padding="valid")
        first: list[Stage] = [
            *_subsampling(layer.strides),
            (PointConvolution, linear, {"kernel": kernel[0, 0]}),
        ]
        return first + activation(layer.activation)
    linear = _linear(keras.ops.conv, layer.kernel, layer.bias, **_window(layer))
    arguments = _sliding(layer) | {
        "weight": float(kernel.shape[2] * kernel.shape[3]),
        "skips": (_is_deep(kernel),) * 2,
        "kernel": kernel,
        "bias": _weights(layer.bias, layer.filters),
        "groups": layer.groups,
    }
    return [(Convolution, linear, arguments), *activation(layer.activation)]


def _is_deep(kernel: Weights) -> bool:
    """Whether skipped taps are worth the convolution's slower edges: not on pixels (measured)."""
    return kernel.shape[2] >= 16


def _linear(function: Callable, kernel: Any, bias: Any, **options: Any) -> Callable:
    """A layer without its activation."""

    def call(x: Any) -> Any:
        made = function(x, kernel, **options)
        return made if bias is None else made + bias

    return call


def _window(layer: Any) -> dict[str, Any]:
    """The window as `keras.ops` names it."""
    names = ("strides", "padding", "data_format", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _sliding(layer: Any) -> dict[str, Any]:
    """The window as `Sliding` names it."""
    return {
        "size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
    }


def _subsampling(strides: tuple[int, int]) -> list[Stage]:
    if strides == (1, 1):
        return []
    rows, columns = strides
    return [(Resample, lambda x: x[:, ::rows, ::columns], {"step": strides})]


def _dense(layer: Any, _: Step) -> list[Stage]:
    linear = _linear(keras.ops.matmul, layer.kernel, layer.bias)
    arguments = {"kernel": _weights(layer.kernel)}
    return [(PointConvolution, linear, arguments), *activation(layer.activation)]


def flat_dense(flatten: Step, dense: Step, shape: tuple[int | None, ...]) -> list[Stage] | None:
    """A dense layer on a flattened map of this shape; None if they are something else."""
    layer = dense.operation
    if (type(flatten.operation), type(layer)) != (keras.layers.Flatten, keras.layers.Dense):
        return None
    if len(shape) != 4 or None in shape[1:] or layer.compute_dtype != "float32":
        return None
    _, height, width, depth = shape
    linear = _linear(keras.ops.matmul, layer.kernel, layer.bias)
    arguments = {
        "size": (height, width),
        "strides": (1, 1),
        "padding": "valid",
        "weight": float((depth or 0) * layer.units),
        "skips": (True, False),
        "kernel": layer.kernel,
    }
    whole = lambda x: linear(flatten(x))  # noqa: E731
    return [(MapDense, whole, arguments), *activation(layer.activation)]


def _depthwise(layer: Any, _: Step) -> list[Stage] | None:
    stages = _depthwise_convolution(layer, layer.kernel, layer.bias)
    return stages and stages + activation(layer.activation)


def _depthwise_convolution(layer: Any, kernel: Any, bias: Any) -> list[Stage]:
    if layer.strides[0] != layer.strides[1]:
        return []  # TensorFlow wants one stride
    linear = _linear(keras.ops.depthwise_conv, kernel, bias, **_window(layer))
    kernel = _weights(kernel)
    arguments = {"weight": _MOVE * kernel.shape[2] * kernel.shape[3], "kernel": kernel}
    return [(DepthwiseConvolution, linear, _sliding(layer) | arguments)]


def _separable(layer: Any, _: Step) -> list[Stage] | None:
    stages = _depthwise_convolution(layer, layer.depthwise_kernel, None)
    kernel = layer.pointwise_kernel
    linear = _linear(keras.ops.conv, kernel, layer.bias, padding="valid")
    last: list[Stage] = [(PointConvolution, linear, {"kernel": _weights(kernel)[0, 0]})]
    return stages and stages + last + activation(layer.activation)


def _max_pooling(layer: Any, step: Step) -> list[Stage]:
    return [(MaxPooling, step, _pooling(layer, step) | {"nearest": True})]


def _average_pooling(layer: Any, step: Step) -> list[Stage]:
    return [(AveragePooling, step, _pooling(layer, step))]


def _pooling(layer: Any, _: Step) -> dict[str, Any]:
    return {
        "size": layer.pool_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "weight": _MOVE,
    }


def _zero_padding(layer: Any, step: Step) -> list[Stage]:
    before, after = zip(*layer.padding, strict=True)
    return [(Resample, step, {"before": before, "after": after})]


def _cropping(layer: Any, step: Step) -> list[Stage]:
    before, after = zip(*(tuple(-n for n in pair) for pair in layer.cropping), strict=True)
    return [(Resample, step, {"before": before, "after": after})]


def _upsampling(layer: Any, step: Step) -> list[Stage] | None:
    if layer.interpolation != "nearest":
        return None
    return [(Resample, step, {"repeat": tuple(layer.size)})]


def _batch_normalization(layer: Any, step: Step) -> list[Stage] | None:
    if not _over_channels(layer.axis):
        return None
    mean, variance = _weights(layer.moving_mean), _weights(layer.moving_variance)
    scale = 1 / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    scale = scale * _weights(layer.gamma) if layer.scale else scale
    shift = (_weights(layer.beta) if layer.center else 0) - mean * scale
    arguments = {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)}
    return [(Affine, step, arguments)]


def _rescaling(layer: Any, step: Step) -> list[Stage] | None:
    return _scaled(np.asarray(layer.scale, np.float32), step)


def _normalization(layer: Any, step: Step) -> list[Stage] | None:
    if layer.invert:
        return None
    deviation = np.sqrt(_weights(layer.variance))
    return _scaled(1 / np.maximum(deviation, keras.config.epsilon()), step)


def _scaled(scale: Weights, step: Step) -> list[Stage] | None:
    if scale.size not in (1, scale.shape[-1] if scale.ndim else 1):
        return None  # a factor for each place
    return [(Affine, step, {"scale": scale.reshape(-1)})]


def _identity(_: Any, step: Step) -> list[Stage]:
    return [(Affine, step, {})]


def _pointwise(_: Any, step: Step) -> list[Stage]:
    return [(Pointwise, step, {})]


def _rectifier(_: Any, step: Step) -> list[Stage]:
    return [(Pointwise, step, {"by_channel": True, "is_cheap": True})]


def _over_last_axis(layer: Any, step: Step) -> list[Stage] | None:
    return _pointwise(layer, step) if _over_channels(layer.axis) else None


def _over_channels(axis: Any) -> bool:
    return (tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)) in ((-1,), (3,))


def _parametric_relu(layer: Any, step: Step) -> list[Stage] | None:
    return _pointwise(layer, step) if list(layer.shared_axes or ()) == [1, 2] else None


def _activation_layer(layer: Any, step: Step) -> list[Stage]:
    return activation(layer.activation) or _identity(layer, step)


def _linear_merge(_: Any, step: Step) -> list[Stage]:
    return [(Merge, step, {})]


def _concatenation(layer: Any, step: Step) -> list[Stage] | None:
    return _linear_merge(layer, step) if _over_channels(layer.axis) else None


def _merge(_: Any, step: Step) -> list[Stage]:
    return [(Merge, step, {"linear": False})]


def _global_average(_: Any, step: Step) -> list[Stage]:
    return [(GlobalAverage, step, {})]


def _named(names: str) -> list[Any]:
    return [getattr(keras.layers, name) for name in names.split()]


_RULES: dict[type, Rule] = {
    keras.layers.Conv2D: _convolution,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.SeparableConv2D: _separable,
    keras.layers.Dense: _dense,
    keras.layers.MaxPooling2D: _max_pooling,
    MaxPoolWithArgmax2D: _max_pooling,
    keras.layers.AveragePooling2D: _average_pooling,
    keras.layers.GlobalAveragePooling2D: _global_average,
    keras.layers.ZeroPadding2D: _zero_padding,
    keras.layers.Cropping2D: _cropping,
    keras.layers.UpSampling2D: _upsampling,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Normalization: _normalization,
    keras.layers.PReLU: _parametric_relu,
    keras.layers.Activation: _activation_layer,
    keras.layers.Concatenate: _concatenation,
    PixelMean: _identity,
    LocalResponseNormalization: _pointwise,
    keras.layers.ReLU: _rectifier,
    **dict.fromkeys(_named("LeakyReLU ELU"), _pointwise),
    **dict.fromkeys(
        _named("Softmax LayerNormalization RMSNormalization UnitNormalization"), _over_last_axis
    ),
    **dict.fromkeys(
        _named(
            "Identity Dropout SpatialDropout2D AlphaDropout GaussianDropout GaussianNoise "
            "ActivityRegularization"
        ),
        _identity,
    ),
    **dict.fromkeys(_named("Add Average Subtract"), _linear_merge),
    **dict.fromkeys(_named("Multiply Maximum Minimum"), _merge),
}


def _function(step: Step) -> list[Stage] | None:
    """An operation of `keras.ops`: of one map (and numbers), or of maps of one size."""
    if type(step.operation).__name__ not in POINTWISE_FUNCTIONS:
        return None
    return _pointwise(None, step) if len(step.inputs) == 1 else _merge(None, step)

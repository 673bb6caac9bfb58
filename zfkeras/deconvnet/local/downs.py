"""The deconvnet's rules on crops.

Convolutions and pools see crops that hold all they need, so they need no padding; what a
convolution spills over the border of its map is set to zero afterwards, which is just what the
padding of whole maps amounts to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zfkeras import layers, ops
from zfkeras.deconvnet.convolution import Frame, transpose, transpose_by_phases, transpose_constant
from zfkeras.deconvnet.local.boxes import Window
from zfkeras.deconvnet.local.crops import OUTSIDE, SOMEWHERE, Crops
from zfkeras.deconvnet.reverse import (
    Call,
    Rule,
    adjoint,
    convolution_adjoint,
    gate,
    gradient,
    identity,
    known_type,
    linear_adjoint,
    op_name,
    overwrite,
    pull_back,
    rectify,
    unpool,
)
from zfkeras.graph.walking import Step

Tensor = Any

_POINTWISE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.Subtract,
    layers.LocalResponseNormalization,
)
_POINTWISE_OPS = frozenset(
    "Add Cast Concatenate Divide GetItem Identity Multiply Negative Subtract TrueDivide".split()
)
_SHIFTS = (keras.layers.Cropping2D, keras.layers.ZeroPadding2D)
_MAX_POOLS = (keras.layers.MaxPooling2D, layers.MaxPoolWithArgmax2D)
IN_PLACE = Window((1, 1), (1, 1), (0, 0))


@dataclass(frozen=True)
class Down:
    """A rule on crops.

    Attributes:
        rule: (crops, signal at the output) -> signal, or signals, at the input, in the box that
            the output's box sees.
        spills: Whether the signal can spill over the border of the input's map.
    """

    rule: Callable[[Crops, Tensor], Any]
    spills: bool = False


def down_on_crops(step: Step, rule: Rule, window: Window) -> Down | None:
    """A rule of a step on crops; None if it is not known to work there."""
    if rule in (convolution_adjoint, linear_adjoint):
        return _convolution(step, window)
    if rule in (unpool, overwrite) and known_type(step.operation, _MAX_POOLS):
        return _unpool(step, rule, window)
    if rule is adjoint and known_type(step.operation, _SHIFTS):
        return Down(lambda _, signal: signal, spills=True)
    if rule is adjoint and known_type(step.operation, (keras.layers.AveragePooling2D,)):
        return Down(lambda crops, signal: _spread(crops, step, window, signal), spills=True)
    if window != IN_PLACE:
        return None
    if rule in (rectify, gate, identity) or (rule in (adjoint, gradient) and _is_pointwise(step)):
        return Down(lambda crops, signal: rule(_call(crops, step, rule), signal))
    if rule is adjoint and known_type(step.operation, (layers.PixelMean,)):
        return Down(lambda _, signal: signal)
    return None


def _call(crops: Crops, step: Step, rule: Rule) -> Call:
    """The call as the rule of a pointwise layer sees it: all in the box of the output."""
    out = step.outputs[0]
    box = crops.boxes[out]

    def crop(i: int, read: bool) -> Tensor:
        return crops.gather(i, box, SOMEWHERE) if read else crops.blank(i, box)

    inputs = tuple(crop(i, "inputs" in rule.reads) for i in step.inputs)
    return Call(step, inputs, crop(out, "output" in rule.reads))


def _is_pointwise(step: Step) -> bool:
    """Whether an affine layer, or a gradient, does the same at every position."""
    operation = step.operation
    if known_type(operation, _POINTWISE) is None and op_name(operation) not in _POINTWISE_OPS:
        return False
    axis = getattr(operation, "axis", -1)
    constants = [x for x in keras.tree.flatten(step.arguments) if len(getattr(x, "shape", ())) > 1]
    return axis in (-1, 3, None, (-1,), (3,)) and not constants


def _convolution(step: Step, window: Window) -> Down | None:
    layer = step.operation
    kind = known_type(layer, _VALID)
    own_operation = (
        kind is keras.layers.Conv2D and type(layer).convolution_op is not kind.convolution_op
    )
    if kind is None or own_operation:
        return None
    if kind is keras.layers.Conv2D and tuple(layer.dilation_rate) == (1, 1):
        return Down(lambda crops, signal: _transposed(crops, step, window, signal), spills=True)

    def pull(crops: Crops, signal: Tensor) -> Tensor:
        blank = tf.zeros(_input_shape(crops, step, window, signal), signal.dtype)
        return pull_back(lambda x: _VALID[kind](layer, x), [blank], signal)[0]

    return Down(pull, spills=True)


def _transposed(crops: Crops, step: Step, window: Window, signal: Tensor) -> Tensor:
    kernel = constant = crops.kernels.get(step)
    if constant is None:
        kernel = step.operation.kernel
    kernel = tf.cast(kernel, signal.dtype)
    strides, depth = window.strides, crops.depths[step.inputs[0]]
    grouped = kernel.shape[2] != depth
    if Frame((0, 0), window.size, strides, "valid").suits_phases(depth) and not grouped:
        return transpose_by_phases(kernel, signal, strides[0])
    if constant is None:
        return transpose(kernel, signal, strides, depth)
    return transpose_constant(constant.astype(signal.dtype.as_numpy_dtype), signal, strides, depth)


def _input_shape(crops: Crops, step: Step, window: Window, signal: Tensor) -> Tensor:
    """Shape of the crop that the output's box sees."""
    _, size = crops.under(window, crops.boxes[step.outputs[0]])
    depth = crops.depths[step.inputs[0]]
    return tf.concat([tf.shape(signal)[:1], size, [depth]], 0)


def _unpool(step: Step, rule: Rule, window: Window) -> Down | None:
    overlap = any(k > s for k, s in zip(window.size, window.strides, strict=True))
    if rule is overwrite and overlap:  # windows beyond the crop overwrite, too
        return None

    def down(crops: Crops, signal: Tensor) -> Tensor:
        box = crops.under(window, crops.boxes[step.outputs[0]])
        inputs = crops.gather(step.inputs[0], box, OUTSIDE)
        pool = lambda x: ops.max_pool(x, window.size, window.strides)  # noqa: E731
        return pull_back(pool, [inputs], signal)[0]

    return Down(down)


def _spread(crops: Crops, step: Step, window: Window, signal: Tensor) -> Tensor:
    """Average pooling's adjoint; a window that hangs over the border averages what is inside."""
    share = window.size[0] * window.size[1] / crops.covered(step, window)
    return tf.raw_ops.AvgPoolGrad(
        orig_input_shape=_input_shape(crops, step, window, signal),
        grad=signal * tf.cast(share, signal.dtype),
        ksize=[1, *window.size, 1],
        strides=[1, *window.strides, 1],
        padding="VALID",
    )


def _convolve(layer: Any, x: Tensor) -> Tensor:
    kernel = tf.cast(layer.kernel, x.dtype)
    return keras.ops.conv(x, kernel, layer.strides, "valid", "channels_last", layer.dilation_rate)


def _depthwise(layer: Any, x: Tensor) -> Tensor:
    kernel = tf.cast(layer.kernel, x.dtype)
    return keras.ops.depthwise_conv(
        x, kernel, layer.strides, "valid", "channels_last", layer.dilation_rate
    )


def _separable(layer: Any, x: Tensor) -> Tensor:
    depthwise, pointwise = (
        tf.cast(kernel, x.dtype) for kernel in (layer.depthwise_kernel, layer.pointwise_kernel)
    )
    return keras.ops.separable_conv(
        x,
        depthwise,
        pointwise,
        layer.strides,
        "valid",
        "channels_last",
        layer.dilation_rate,
    )


_VALID: dict[type, Callable[[Any, Tensor], Tensor]] = {
    keras.layers.Conv2D: _convolve,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.SeparableConv2D: _separable,
}

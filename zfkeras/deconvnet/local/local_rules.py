"""The deconvnet's rules on crops.

Convolutions and pools see crops that hold all they need, so they need no padding; what a
convolution spills over the border of its map is set to zero afterwards, which is just what the
padding of whole maps amounts to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from zfkeras import ops
from zfkeras.deconvnet.adjoints import (
    suits_phases,
    transpose,
    transpose_by_phases,
    transpose_constant,
)
from zfkeras.deconvnet.local.crops import OUTSIDE, SOMEWHERE, Crops
from zfkeras.deconvnet.reverse import (
    Call,
    Rule,
    adjoint,
    convolution_adjoint,
    gradient,
    linear_adjoint,
    overwrite,
    pull_back,
    unpool,
)
from zfkeras.graph.kinds import Role
from zfkeras.graph.layer_kinds import kind_of
from zfkeras.graph.walking import Step
from zfkeras.regions.windows import HERE, Windows
from zfkeras.types import Tensor


@dataclass(frozen=True)
class LocalRule:
    """A rule on crops.

    Attributes:
        rule: (crops, signal at the output) -> signal, or signals, at the input, in the box that
            the output's box sees.
        spills: Whether the signal can spill over the border of the input's map.
    """

    rule: Callable[[Crops, Tensor], Any]
    spills: bool = False


def rule_on_crops(step: Step, rule: Rule, windows: Windows) -> LocalRule | None:
    """A rule of a step on crops; None if it is not known to work there."""
    kind = kind_of(step)
    if rule in (convolution_adjoint, linear_adjoint):
        return _LINEAR[kind.role](step, windows) if kind.role in _LINEAR else None
    if rule in (unpool, overwrite) and kind.role is Role.MAX_POOL:
        return _unpool(step, rule, windows)
    if rule is adjoint and kind.role is Role.MOVE:
        return LocalRule(lambda _, signal: signal, spills=True)
    if rule is adjoint and kind.role is Role.AVERAGE_POOL:
        return LocalRule(lambda crops, signal: _spread(crops, step, windows, signal), spills=True)
    if windows == HERE and (rule.in_place or (rule in (adjoint, gradient) and kind.is_pointwise)):
        return _in_place(step, rule)
    return None


def _call(crops: Crops, step: Step, rule: Rule) -> Call:
    """The call as the rule of a pointwise layer sees it: all in the box of the output."""
    out = step.outputs[0]
    box = crops.boxes[out]

    def crop(i: int, read: bool) -> Tensor:
        return crops.gather(i, box, SOMEWHERE) if read else crops.blank(i, box)

    inputs = tuple(crop(i, "inputs" in rule.reads) for i in step.inputs)
    return Call(step, inputs, crop(out, "output" in rule.reads))


def _convolution(step: Step, windows: Windows) -> LocalRule:
    if tuple(step.operation.dilation_rate) != (1, 1):
        return _any_convolution(step, windows)
    return LocalRule(lambda crops, signal: _transposed(crops, step, windows, signal), spills=True)


def _any_convolution(step: Step, windows: Windows) -> LocalRule:
    linear: Any = kind_of(step).linear

    def pull(crops: Crops, signal: Tensor) -> Tensor:
        blank = tf.zeros(_input_shape(crops, step, windows, signal), signal.dtype)
        valid = lambda x: linear(step.operation, x, "valid")  # noqa: E731
        return pull_back(valid, [blank], signal)[0]

    return LocalRule(pull, spills=True)


def _dense(step: Step, _: Windows) -> LocalRule:
    """A dense layer on maps is one for each place."""
    return _in_place(step, linear_adjoint)


def _in_place(step: Step, rule: Rule) -> LocalRule:
    return LocalRule(lambda crops, signal: rule(_call(crops, step, rule), signal))


_LINEAR = {
    Role.CONVOLUTION: _convolution,
    Role.DENSE: _dense,
    Role.DEPTHWISE: _any_convolution,
    Role.SEPARABLE: _any_convolution,
}


def _transposed(crops: Crops, step: Step, windows: Windows, signal: Tensor) -> Tensor:
    kernel = constant = crops.kernels.get(step)
    if constant is None:
        kernel = step.operation.kernel
    kernel = tf.cast(kernel, signal.dtype)
    strides, depth = windows.strides, crops.depths[step.inputs[0]]
    grouped = kernel.shape[2] != depth
    if suits_phases(windows, depth) and not grouped:
        return transpose_by_phases(kernel, signal, strides[0])
    if constant is None:
        return transpose(kernel, signal, strides, depth)
    return transpose_constant(constant.astype(signal.dtype.as_numpy_dtype), signal, strides, depth)


def _input_shape(crops: Crops, step: Step, windows: Windows, signal: Tensor) -> Tensor:
    """Shape of the crop that the output's box sees."""
    _, size = crops.under(windows, crops.boxes[step.outputs[0]])
    depth = crops.depths[step.inputs[0]]
    return tf.concat([tf.shape(signal)[:1], size, [depth]], 0)


def _unpool(step: Step, rule: Rule, windows: Windows) -> LocalRule | None:
    overlap = any(k > s for k, s in zip(windows.size, windows.strides, strict=True))
    if rule is overwrite and overlap:  # windows beyond the crop overwrite, too
        return None

    def down(crops: Crops, signal: Tensor) -> Tensor:
        box = crops.under(windows, crops.boxes[step.outputs[0]])
        inputs = crops.gather(step.inputs[0], box, OUTSIDE)
        pool = lambda x: ops.max_pool(x, windows.size, windows.strides)  # noqa: E731
        return pull_back(pool, [inputs], signal)[0]

    return LocalRule(down)


def _spread(crops: Crops, step: Step, windows: Windows, signal: Tensor) -> Tensor:
    """Average pooling's adjoint; a window that hangs over the border averages what is inside."""
    share = windows.size[0] * windows.size[1] / crops.covered(step, windows)
    return tf.raw_ops.AvgPoolGrad(
        orig_input_shape=_input_shape(crops, step, windows, signal),
        grad=signal * tf.cast(share, signal.dtype),
        ksize=[1, *windows.size, 1],
        strides=[1, *windows.strides, 1],
        padding="VALID",
    )

"""Reverse rules: what one type of layer does to a signal on its way down to the pixels.

The rules of affine layers are the layers' own adjoints, in which biases drop out by themselves
(method.md, Filtering); max pools send the signal along their switches; ReLUs are where the methods
differ (method.md, Gradients). The way down is in float32 (float64 for float64 models) whatever the
model's precision.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from zfkeras import ops
from zfkeras.deconvnet.adjoints import (
    one_filter_adjoint,
    phase_adjoint,
    plain_adjoint,
    suits_phases,
)
from zfkeras.graph.layer_kinds import ceiling, linear_part
from zfkeras.graph.layer_windows import pair, sliding
from zfkeras.graph.walking import Step
from zfkeras.types import Pair, Tensor


@dataclass(frozen=True)
class Call:
    """One call of a layer, as its rule sees it.

    Attributes:
        step: The call in the graph; `step(*inputs)` runs the layer.
        inputs: Its inputs in the forward pass, a row for each row of the signal.
        output: Its output then. Rules that don't declare to read `inputs` or `output` get them
            without rows, for their shape alone.
    """

    step: Step
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def layer(self) -> keras.Operation:
        """The layer or functional operation that was called."""
        return self.step.operation

    def blank_inputs(self, signal: Tensor) -> tuple[Tensor, ...]:
        """Zeros in the shape of the inputs, a row for each row of `signal`, in its dtype."""
        return tuple(blank(x, tf.nest.flatten(signal)[0]) for x in self.inputs)


@dataclass(frozen=True)
class OneChannel:
    """A signal that is zero in all channels but one: where every projection starts.

    Attributes:
        maps: Tensor (B, h, w) of that channel.
        channels: int32 tensor (B,): which channel it is.
        depth: Channels in all.
    """

    maps: Tensor
    channels: Tensor
    depth: int

    @property
    def dtype(self) -> tf.DType:
        """The dtype of `maps`."""
        return self.maps.dtype

    def dense(self) -> Tensor:
        """The same signal with its zeros, (B, h, w, depth)."""
        chosen = tf.one_hot(self.channels, self.depth, dtype=self.maps.dtype)
        return self.maps[..., None] * chosen[:, None, None, :]


Signal: TypeAlias = Tensor | OneChannel


def as_dense(signal: Signal) -> Tensor:
    """`signal` with its zeros, if it is one that leaves them out."""
    return signal.dense() if isinstance(signal, OneChannel) else signal


@dataclass(frozen=True)
class Rule:
    """A reverse rule and what it has to know.

    Attributes:
        down: The function (call, signal) -> signal, or signals where there are several inputs.
        reads: Which of the forward tensors, "inputs" and "output", it reads the values of.
        one_channel: Whether it takes a `OneChannel` signal as it is.
        in_place: Whether it does the same to the signal in every place by itself. Then units are
            projected on crops, if the rest of their way allows it.
    """

    down: Callable[[Call, Any], Any]
    reads: tuple[str, ...] = ("inputs", "output")
    one_channel: bool = False
    in_place: bool = False

    def __call__(self, call: Call, signal: Signal) -> Signal:
        """Takes the signal one layer down."""
        return self.down(call, signal if self.one_channel else as_dense(signal))


def _identity(_: Call, signal: Signal) -> Signal:
    return signal


def _rectify(_: Call, signal: Signal) -> Signal:
    if isinstance(signal, OneChannel):
        return OneChannel(tf.nn.relu(signal.maps), signal.channels, signal.depth)
    return tf.nn.relu(signal)


def _gate(call: Call, signal: Tensor) -> Tensor:
    is_open = call.output > 0
    flat_above = ceiling(call.layer)
    if flat_above is not None:
        is_open &= call.output < tf.cast(flat_above, call.output.dtype)
    return tf.where(is_open, signal, tf.zeros_like(signal))


def _adjoint(call: Call, signal: Tensor) -> list[Tensor]:
    return pull_back(call.step, call.blank_inputs(signal), signal)


def _gradient(call: Call, signal: Tensor) -> list[Tensor]:
    return pull_back(call.step, call.inputs, signal)


def _unpool(call: Call, signal: Tensor) -> list[Tensor]:
    """Max pooling's own gradient: on a CPU the fastest form of unpooling by switches."""
    pooling = _pooling(call.layer)
    return pull_back(lambda x: ops.max_pool(x, *pooling), call.inputs, signal)


def _global_unpool(call: Call, signal: Tensor) -> Tensor:
    (x,) = call.inputs
    flat = tf.reshape(x, [tf.shape(x)[0], -1, x.shape[-1]])
    first = tf.one_hot(tf.argmax(flat, 1), tf.shape(flat)[1], axis=1, dtype=signal.dtype)
    return tf.reshape(first * tf.reshape(signal, [-1, 1, x.shape[-1]]), tf.shape(x))


def _overwrite(call: Call, signal: Tensor) -> Tensor:
    (x,) = call.inputs
    _, switches = ops.max_pool_with_argmax(x, *_pooling(call.layer))
    size = (x.shape[1] or tf.shape(x)[1], x.shape[2] or tf.shape(x)[2])
    return ops.max_unpool(signal, switches, size, overlap="overwrite")


identity = Rule(_identity, reads=(), one_channel=True, in_place=True)
"""Hands the signal on: dropout; contrast normalisation on the way down (method.md)."""

rectify = Rule(_rectify, reads=(), one_channel=True, in_place=True)
"""``max(signal, 0)``: whatever the forward pass saw (method.md, Rectification)."""

gate = Rule(_gate, reads=("output",), in_place=True)
"""Keeps the signal where the forward ReLU was open: the gradient's ReLU (method.md, Gradients)."""

adjoint = Rule(_adjoint, reads=())
"""The transpose of an affine layer."""

gradient = Rule(_gradient, reads=("inputs",))
"""The transposed Jacobian at the forward inputs: right for any differentiable layer, but the
deconvnet's way down only where the layer is no nonlinearity."""

unpool = Rule(_unpool, reads=("inputs",))
"""Max pooling: each value to where its switch points, windows that share one adding up."""

global_unpool = Rule(_global_unpool, reads=("inputs",))
"""Global max pooling: all signal to the first maximum of each channel."""

overwrite = Rule(_overwrite, reads=("inputs",))
"""Unpooling in which the last of the windows that share a switch wins."""


def pull_back(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], signal: Tensor
) -> list[Tensor]:
    """The transposed Jacobian of `function` at `inputs`, times `signal`; one tensor per input."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        output = function(*inputs)
    signal = tf.nest.map_structure(
        lambda y, s: tf.cast(tf.reshape(s, tf.shape(y)), y.dtype), output, signal
    )
    return list(tape.gradient(output, list(inputs), signal, unconnected_gradients="zero"))


def _linear_adjoint(call: Call, signal: Signal) -> Signal:
    linear = linear_part(call.layer)
    return pull_back(linear, call.blank_inputs(signal), signal)


def _convolution_adjoint(call: Call, signal: Signal) -> Signal:
    """The adjoint of a Conv2D, by the cheapest of several exact ways."""
    conv, shape = call.layer, call.inputs[0].shape
    if tuple(conv.dilation_rate) != (1, 1):
        return _linear_adjoint(call, as_dense(signal))
    kernel, grouped = tf.cast(conv.kernel, signal.dtype), conv.kernel.shape[2] != shape[3]
    if shape[1:3].is_fully_defined():
        size = tuple(shape[1:3])
        windows = sliding(conv, size)
        if isinstance(signal, OneChannel) and not grouped:
            return one_filter_adjoint(kernel, signal.maps, signal.channels, windows, size)
        if suits_phases(windows, depth=shape[3]) and not grouped:
            return phase_adjoint(kernel, as_dense(signal), windows, size)
        return plain_adjoint(kernel, as_dense(signal), windows, size, shape[3])
    # Not by Keras' own operation: it compiles grouped convolutions with XLA, whose adjoints are
    # twelve times slower on a CPU.
    signal, padding = as_dense(signal), conv.padding.upper()
    convolve = functools.partial(
        tf.nn.conv2d, filters=kernel, strides=conv.strides, padding=padding
    )
    return pull_back(convolve, call.blank_inputs(signal), signal)


convolution_adjoint = Rule(_convolution_adjoint, reads=(), one_channel=True)
"""The transposed filters of a Conv2D (method.md, Filtering)."""

linear_adjoint = Rule(_linear_adjoint, reads=())
"""The transpose of the other layers that can have an activation built in, without it."""


def _pooling(pool: keras.Layer) -> tuple[Pair, Pair, str]:
    window = pair(pool.pool_size)
    return window, pair(pool.strides or window), pool.padding


def blank(x: Tensor, signal: Tensor) -> Tensor:
    """Zeros in the shape of `x`, but a row for each row of `signal`, in its dtype."""
    blank = tf.zeros(tf.concat([tf.shape(signal)[:1], tf.shape(x)[1:]], 0), signal.dtype)
    return tf.ensure_shape(blank, [None, *x.shape[1:]])

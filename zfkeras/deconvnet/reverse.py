"""Reverse rules: what one type of layer does to a signal on its way down to the pixels.

The rules of affine layers are the layers' own adjoints, in which biases drop out by themselves
(spec C2.3, C2.4); max pools send the signal along their switches (C2.1); ReLUs are where the
methods differ (C6). The way down is in float32 (float64 for float64 models) whatever the model's
precision.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zfkeras import ops
from zfkeras.deconvnet.convolution import Frame, one_filter_adjoint, phase_adjoint, plain_adjoint
from zfkeras.graph.walking import Step

Tensor = Any


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
    def layer(self) -> Any:
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
    def dtype(self) -> Any:
        """Of the maps."""
        return self.maps.dtype

    def dense(self) -> Tensor:
        """The same signal with its zeros, (B, h, w, depth)."""
        chosen = tf.one_hot(self.channels, self.depth, dtype=self.maps.dtype)
        return self.maps[..., None] * chosen[:, None, None, :]


def as_dense(signal: Any) -> Any:
    """`signal` with its zeros, if it is one that leaves them out."""
    return signal.dense() if isinstance(signal, OneChannel) else signal


@dataclass(frozen=True)
class Rule:
    """A reverse rule and what it has to know.

    Attributes:
        down: The function (call, signal) -> signal, or signals where there are several inputs.
        reads: Which of the forward tensors, "inputs" and "output", it reads the values of.
        one_channel: Whether it takes a `OneChannel` signal as it is.
    """

    down: Callable[[Call, Any], Any]
    reads: tuple[str, ...] = ("inputs", "output")
    one_channel: bool = False

    def __call__(self, call: Call, signal: Any) -> Any:
        """Takes the signal one layer down."""
        return self.down(call, signal if self.one_channel else as_dense(signal))


def _identity(_: Call, signal: Any) -> Any:
    return signal


def _rectify(_: Call, signal: Any) -> Any:
    if isinstance(signal, OneChannel):
        return OneChannel(tf.nn.relu(signal.maps), signal.channels, signal.depth)
    return tf.nn.relu(signal)


def _gate(call: Call, signal: Tensor) -> Tensor:
    is_open = call.output > 0
    ceiling = _ceiling(call.layer)
    if ceiling is not None:
        is_open &= call.output < tf.cast(ceiling, call.output.dtype)
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


identity = Rule(_identity, reads=(), one_channel=True)
"""Hands the signal on: dropout; contrast normalisation on the way down (spec C2.5)."""

rectify = Rule(_rectify, reads=(), one_channel=True)
"""``max(signal, 0)``: the deconvnet's ReLU, whatever the forward pass saw (spec C2.2)."""

gate = Rule(_gate, reads=("output",))
"""Keeps the signal where the forward ReLU was open: the gradient's ReLU (spec C6)."""

adjoint = Rule(_adjoint, reads=())
"""The transpose of an affine layer."""

gradient = Rule(_gradient, reads=("inputs",))
"""The transposed Jacobian at the forward inputs: right for any differentiable layer, but the
deconvnet's way down only where the layer is no nonlinearity."""

unpool = Rule(_unpool, reads=("inputs",))
"""Max pooling: each value to where its switch points, windows that share one adding up (J3)."""

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


def _linear_adjoint(call: Call, signal: Any) -> Any:
    linear = linear_part(call.layer)
    return pull_back(linear, call.blank_inputs(signal), signal)


def _convolution_adjoint(call: Call, signal: Any) -> Any:
    """The adjoint of a Conv2D, by the cheapest of several exact ways."""
    conv, shape = call.layer, call.inputs[0].shape
    own_operation = type(conv).convolution_op is not keras.layers.Conv2D.convolution_op
    if own_operation or tuple(conv.dilation_rate) != (1, 1):
        return _linear_adjoint(call, as_dense(signal))
    kernel, grouped = tf.cast(conv.kernel, signal.dtype), conv.kernel.shape[2] != shape[3]
    if shape[1:3].is_fully_defined():
        frame = Frame(tuple(shape[1:3]), conv.kernel_size, conv.strides, conv.padding)
        if isinstance(signal, OneChannel) and not grouped:
            return one_filter_adjoint(kernel, signal.maps, signal.channels, frame)
        if frame.suits_phases(depth=shape[3]) and not grouped:
            return phase_adjoint(kernel, as_dense(signal), frame)
        return plain_adjoint(kernel, as_dense(signal), frame, shape[3])
    # Not by Keras' own operation: it compiles grouped convolutions with XLA, whose adjoints are
    # twelve times slower on a CPU.
    signal, padding = as_dense(signal), conv.padding.upper()
    convolve = functools.partial(
        tf.nn.conv2d, filters=kernel, strides=conv.strides, padding=padding
    )
    return pull_back(convolve, call.blank_inputs(signal), signal)


def linear_part(layer: Any) -> Callable[[Tensor], Tensor]:
    """A layer without its bias and built-in activation."""
    kind = known_type(layer, LINEAR)
    if kind is None:
        raise ValueError(
            f"Only layers of type {', '.join(cls.__name__ for cls in LINEAR)} have a linear part. "
            f"Received: layer={layer!r}"
        )
    return functools.partial(LINEAR[kind], layer)


def logits(layer: Any, x: Tensor) -> Tensor:
    """What a layer with an activation built in computes before that activation."""
    x = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
    output = linear_part(layer)(x)
    return output + tf.cast(layer.bias, x.dtype) if layer.use_bias else output


def _depthwise(layer: Any, x: Tensor) -> Tensor:
    kernel = keras.ops.cast(layer.kernel, x.dtype)
    return keras.ops.depthwise_conv(
        x, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
    )


def _separable(layer: Any, x: Tensor) -> Tensor:
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    depthwise, pointwise = (keras.ops.cast(kernel, x.dtype) for kernel in kernels)
    return keras.ops.separable_conv(
        x,
        depthwise,
        pointwise,
        layer.strides,
        layer.padding,
        layer.data_format,
        layer.dilation_rate,
    )


def _transposed(layer: Any, x: Tensor) -> Tensor:
    return keras.ops.conv_transpose(
        x,
        keras.ops.cast(layer.kernel, x.dtype),
        layer.strides,
        layer.padding,
        layer.output_padding,
        layer.data_format,
        layer.dilation_rate,
    )


def _convolve(layer: Any, x: Tensor) -> Tensor:
    return layer.convolution_op(x, keras.ops.cast(layer.kernel, x.dtype))


def _dense(layer: Any, x: Tensor) -> Tensor:
    return keras.ops.matmul(x, keras.ops.cast(layer.kernel, x.dtype))


# The linear part of the layers that can have an activation built in: without it, without bias.
LINEAR: dict[type, Callable[[Any, Tensor], Tensor]] = {
    keras.layers.Conv1D: _convolve,
    keras.layers.Conv2D: _convolve,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.SeparableConv2D: _separable,
}


convolution_adjoint = Rule(_convolution_adjoint, reads=(), one_channel=True)
"""The transposed filters of a Conv2D (spec C2.3)."""

linear_adjoint = Rule(_linear_adjoint, reads=())
"""The transpose of the other layers that can have an activation built in, without it."""


def _ceiling(operation: Any) -> float | None:
    """The value above which a rectifier is flat."""
    function = getattr(operation, "activation", operation)
    if known_type(function, (keras.layers.ReLU,)):
        return function.max_value
    six = (keras.activations.relu6, keras.ops.relu6, tf.nn.relu6)
    return 6.0 if function in six or op_name(function) == "Relu6" else None


def _pooling(pool: Any) -> tuple[Any, Any, str]:
    window = _pair(pool.pool_size)
    return window, _pair(pool.strides) if pool.strides else window, pool.padding


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def blank(x: Tensor, signal: Tensor) -> Tensor:
    """Zeros in the shape of `x`, but a row for each row of `signal`, in its dtype."""
    blank = tf.zeros(tf.concat([tf.shape(signal)[:1], tf.shape(x)[1:]], 0), signal.dtype)
    return tf.ensure_shape(blank, [None, *x.shape[1:]])


def known_type(operation: Any, table: Any) -> Any:
    """The class in `table` that `operation` is; None too for one that overrides its `call`."""
    kind: Any = type(operation)
    for cls in kind.__mro__:
        if cls in table:
            return cls if kind.call is cls.call else None
    return None


def op_name(operation: Any) -> str:
    """The class name of one of Keras' functional operations, "" for a layer."""
    if isinstance(operation, keras.layers.Layer):
        return ""
    return type(operation).__name__ if type(operation).__module__.startswith("keras.") else ""

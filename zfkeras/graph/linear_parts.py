"""Layers without their bias and built-in activation: (layer, x, padding) -> output.

`padding` None is the layer's own.
"""

import keras

from zfkeras.types import Tensor


def convolve(layer: keras.Layer, x: Tensor, padding: str | None = None) -> Tensor:
    """Of a Conv2D or Conv1D."""
    kernel = keras.ops.cast(layer.kernel, x.dtype)
    if padding is None:
        return layer.convolution_op(x, kernel)
    return keras.ops.conv(x, kernel, layer.strides, padding, layer.data_format, layer.dilation_rate)


def depthwise(layer: keras.Layer, x: Tensor, padding: str | None = None) -> Tensor:
    """Of a DepthwiseConv2D."""
    kernel = keras.ops.cast(layer.kernel, x.dtype)
    return keras.ops.depthwise_conv(
        x,
        kernel,
        layer.strides,
        padding or layer.padding,
        layer.data_format,
        layer.dilation_rate,
    )


def separable(layer: keras.Layer, x: Tensor, padding: str | None = None) -> Tensor:
    """Of a SeparableConv2D."""
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    depthwise, pointwise = (keras.ops.cast(kernel, x.dtype) for kernel in kernels)
    return keras.ops.separable_conv(
        x,
        depthwise,
        pointwise,
        layer.strides,
        padding or layer.padding,
        layer.data_format,
        layer.dilation_rate,
    )


def transpose_convolve(layer: keras.Layer, x: Tensor, _: str | None = None) -> Tensor:
    """Of a Conv2DTranspose."""
    return keras.ops.conv_transpose(
        x,
        keras.ops.cast(layer.kernel, x.dtype),
        layer.strides,
        layer.padding,
        layer.output_padding,
        layer.data_format,
        layer.dilation_rate,
    )


def dense(layer: keras.Layer, x: Tensor, _: str | None = None) -> Tensor:
    """Of a Dense."""
    return keras.ops.matmul(x, keras.ops.cast(layer.kernel, x.dtype))


def einsum(layer: keras.Layer, x: Tensor, _: str | None = None) -> Tensor:
    """Of an EinsumDense."""
    return keras.ops.einsum(layer.equation, x, keras.ops.cast(layer.kernel, x.dtype))

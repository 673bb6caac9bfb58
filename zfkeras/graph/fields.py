"""How far each type of layer sees: its step in the arithmetic of receptive fields (spec C5)."""

from collections.abc import Callable
from typing import Any

import keras

from zfkeras import layers, ops
from zfkeras.graph.geometry import ReceptiveField

Size = tuple[int | None, ...]


def field_over(
    operation: Any, arguments: tuple[tuple, dict], field: ReceptiveField, size: Size
) -> ReceptiveField:
    """The receptive field of a layer's output.

    Args:
        operation: The layer or functional operation.
        arguments: (args, kwargs) of its call.
        field: The field of its input.
        size: (H, W) of its input.

    Raises:
        ValueError: It is not known how far the layer sees, or `size` is needed and unknown.
    """
    for cls in type(operation).__mro__:
        if cls in _FIELDS:
            return _FIELDS[cls](operation, field, size)
    name = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        if name in _POINTWISE_OPS or (name == "GetItem" and _picks_channels(*arguments[0][1:])):
            return field
    raise ValueError(
        "`receptive_field` knows convolution, pooling, padding, upsampling and pointwise layers, "
        f"but not how far this one sees. Received: layer '{operation.name}' of type {name}"
    )


def _picks_channels(key: Any) -> bool:
    """Whether an index such as ``[..., ::-1]`` leaves the positions in a map as they are."""
    if not isinstance(key, tuple | list):  # a list where the model comes from a file
        return False
    spatial = key[:-1] if key[0] is Ellipsis or len(key) == 4 else key
    return all(part is Ellipsis or part == slice(None) for part in spatial)


def _same(_: Any, field: ReceptiveField, __: Size) -> ReceptiveField:
    return field


def _whole(layer: Any, field: ReceptiveField, size: Size) -> ReceptiveField:
    known = _known(layer, size)
    return field.through(known, known)


def _window(layer: Any, field: ReceptiveField, size: Size) -> ReceptiveField:
    if hasattr(layer, "pool_size"):
        window = tuple(layer.pool_size)
    else:
        window = _dilated(layer)
    strides = tuple(layer.strides or window)
    before: tuple[int, ...] = (0, 0)
    if layer.padding == "same":
        axes = zip(_known(layer, size), window, strides, strict=True)
        before = tuple(ops.same_padding(*axis)[0] for axis in axes)
    return field.through(window, strides, before)


def _transposed(layer: Any, field: ReceptiveField, _: Size) -> ReceptiveField:
    window, strides = _dilated(layer), tuple(layer.strides)
    axes = zip(window, strides, strict=True)
    same = layer.padding == "same"
    return field.back_through(window, strides, [max(k - s, 0) // 2 if same else 0 for k, s in axes])


def _upsampled(layer: Any, field: ReceptiveField, _: Size) -> ReceptiveField:
    strides = tuple(layer.size)
    if layer.interpolation == "nearest":
        return field.back_through(strides, strides)
    if layer.interpolation == "bilinear":  # each unit also sees its neighbours
        return field.back_through(
            [2 * s + 1 for s in strides], strides, [(s + 1) / 2 for s in strides]
        )
    raise ValueError(
        "The receptive field of an upsampling is known for 'nearest' and 'bilinear'. "
        f"Received: layer '{layer.name}' with interpolation={layer.interpolation!r}"
    )


def _padded(layer: Any, field: ReceptiveField, _: Size) -> ReceptiveField:
    return field.through((1, 1), (1, 1), [first for first, _ in layer.padding])


def _cropped(layer: Any, field: ReceptiveField, _: Size) -> ReceptiveField:
    return field.through((1, 1), (1, 1), [-first for first, _ in layer.cropping])


def _dilated(layer: Any) -> tuple[int, ...]:
    pairs = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    return tuple((size - 1) * dilation + 1 for size, dilation in pairs)


def _known(layer: Any, size: Size) -> tuple[int, int]:
    if len(size) == 2 and None not in size:
        return size[0], size[1]  # type: ignore[return-value]
    raise ValueError(
        f"The receptive field over layer '{layer.name}' depends on the size of its input: give "
        f"`image_size`, or build the model for a fixed size. Received: size={size}"
    )


_FIELDS: dict[type, Callable[[Any, ReceptiveField, Size], ReceptiveField]] = {
    **dict.fromkeys(
        (
            keras.layers.AveragePooling2D,
            keras.layers.Conv2D,
            keras.layers.DepthwiseConv2D,
            keras.layers.MaxPooling2D,
            keras.layers.SeparableConv2D,
            layers.MaxPoolWithArgmax2D,
        ),
        _window,
    ),
    **dict.fromkeys(
        (
            keras.layers.Flatten,
            keras.layers.GlobalAveragePooling2D,
            keras.layers.GlobalMaxPooling2D,
        ),
        _whole,
    ),
    **dict.fromkeys(
        (
            keras.layers.Activation,
            keras.layers.Add,
            keras.layers.AlphaDropout,
            keras.layers.Average,
            keras.layers.BatchNormalization,
            keras.layers.Concatenate,
            keras.layers.Dense,
            keras.layers.Dropout,
            keras.layers.ELU,
            keras.layers.GaussianDropout,
            keras.layers.GaussianNoise,
            keras.layers.Identity,
            keras.layers.LeakyReLU,
            keras.layers.Maximum,
            keras.layers.Multiply,
            keras.layers.Normalization,
            keras.layers.PReLU,
            keras.layers.ReLU,
            keras.layers.Rescaling,
            keras.layers.Softmax,
            keras.layers.SpatialDropout2D,
            keras.layers.Subtract,
            layers.LocalResponseNormalization,
            layers.PixelMean,
        ),
        _same,
    ),
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Cropping2D: _cropped,
    keras.layers.UpSampling2D: _upsampled,
    keras.layers.ZeroPadding2D: _padded,
}
_POINTWISE_OPS = frozenset(
    "Add Cast Clip Concatenate Divide Gelu Identity LeakyRelu Maximum Minimum Multiply Negative "
    "Relu Relu6 Sigmoid Silu Softmax Sqrt Square Subtract Tanh TrueDivide".split()
)

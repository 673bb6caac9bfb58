"""What the units of a layer see of its input: (operation, (H, W) of the input) -> its windows."""

from collections.abc import Sequence
from typing import Any

import keras

from zfkeras.regions.windows import HERE, Window, Windows

Size = Sequence[int | None]


def here(_: keras.Layer, __: Size) -> Windows:
    """Of a layer that works on each place by itself."""
    return HERE


def sliding(layer: keras.Layer, size: Size) -> Windows:
    """Of a convolution or a pool."""
    taps = pair(getattr(layer, "pool_size", None) or layer.kernel_size)
    strides = pair(layer.strides or taps)
    dilation = pair(getattr(layer, "dilation_rate", 1))
    known = size if layer.padding == "valid" else _known(layer, size)
    axes = zip(known, taps, strides, dilation, strict=True)
    return Windows(*(Window.sliding(n, k, s, layer.padding, d) for n, k, s, d in axes))


def whole(layer: keras.Layer, size: Size) -> Windows:
    """Of a layer whose units see the whole map."""
    return Windows(*(Window(length, length) for length in _known(layer, size)))


def transposed(layer: keras.Layer, _: Size) -> Windows:
    """Of a transposed convolution."""
    axes = zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    return Windows(*(_transposed_axis((k - 1) * d + 1, s, layer.padding) for k, s, d in axes))


def _transposed_axis(size: int, stride: int, padding: str) -> Window:
    before = max(size - stride, 0) // 2 if padding == "same" else 0
    return Window(size, stride, before, transposed=True)


def upsampled(layer: keras.Layer, _: Size) -> Windows:
    """Of an upsampling."""
    if layer.interpolation == "nearest":
        return Windows(*(Window(n, n, transposed=True) for n in layer.size))
    if layer.interpolation == "bilinear":  # each unit also sees its neighbours
        smooth = [(2 * n + 1, n, (n + 1) / 2) for n in layer.size]
        return Windows(*(Window(*axis, transposed=True) for axis in smooth))
    raise ValueError(
        "The receptive field of an upsampling is known for 'nearest' and 'bilinear'. "
        f"Received: layer '{layer.name}' with interpolation={layer.interpolation!r}"
    )


def padded(layer: keras.Layer, _: Size) -> Windows:
    """Of a zero padding."""
    return Windows(*(Window(before=first, after=last) for first, last in layer.padding))


def cropped(layer: keras.Layer, _: Size) -> Windows:
    """Of a cropping."""
    return Windows(*(Window(before=-first, after=-last) for first, last in layer.cropping))


def centre_cropped(layer: keras.Layer, size: Size) -> Windows:
    """Of a cropping to a size."""
    ends = []
    for length, target in zip(_known(layer, size), (layer.height, layer.width), strict=True):
        if length < target:
            raise ValueError(
                "The receptive field of a CenterCrop is known for images that it needn't enlarge. "
                f"Received: layer '{layer.name}' over maps of {tuple(size)}"
            )
        first = (length - target) // 2
        ends.append(Window(before=-first, after=first + target - length))
    return Windows(*ends)


def _known(layer: keras.Layer, size: Size) -> tuple[int, int]:
    if len(size) == 2 and None not in size:
        return size[0], size[1]  # type: ignore[return-value]
    raise ValueError(
        f"The receptive field over layer '{layer.name}' depends on the size of its input: give "
        f"`image_size`, or build the model for a fixed size. Received: size={tuple(size)}"
    )


def pair(size: Any) -> tuple[int, int]:
    """One number for rows and columns, or two."""
    return (size, size) if isinstance(size, int) else tuple(size)

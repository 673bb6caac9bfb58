"""Pictures: showing signed projections, colouring, laying out, saving.

NumPy and Pillow only. A picture is a ``(H, W, 3)`` uint8 RGB array; `load` is that of
`zfkeras.reading`, `fit` that of `zfkeras.fitting`.
"""

import io
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from zfkeras.files import write_atomically
from zfkeras.fitting import fit
from zfkeras.reading import Picture, as_picture, load, to_grey, to_rgb

__all__ = [
    "Colour",
    "Picture",
    "Pictures",
    "colour_map",
    "encode",
    "fit",
    "frame",
    "grid",
    "label",
    "load",
    "overlay",
    "save",
    "to_display",
    "to_grey",
    "to_rgb",
]

Pictures = Sequence[Picture] | NDArray[np.uint8]
Colour = tuple[int, int, int]

# Viridis (Smith & van der Walt, CC0) in 16 equal steps: straight lines between them stay
# within 6 of 255 of the original, and no plotting library is needed for a colour.
_VIRIDIS = np.frombuffer(
    bytes.fromhex(
        "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
        "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725"
    ),
    dtype=np.uint8,
).reshape(-1, 3)


CONTRAST = 99.5  # percentile of a projection's magnitudes that becomes black or white


def encode(picture: ArrayLike, format: str = "PNG") -> bytes:
    """Encodes a picture as a "PNG", "JPEG" or "WEBP" file in memory.

    Example:
        >>> encode(np.zeros((2, 2, 3), np.uint8))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    options = {} if format == "PNG" else {"quality": 90}
    Image.fromarray(as_picture(picture)).save(buffer, format, **options)
    return buffer.getvalue()


def save(path: str | os.PathLike[str], picture: ArrayLike) -> Path:
    """Writes a picture as PNG or JPEG (by its suffix), whole or not at all.

    Folders on the way are made. A reader never sees half a file.
    """
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    path = Path(path)
    if path.suffix.lower() not in formats:
        raise ValueError(
            f"Cannot tell the picture's format. The file name must end in one of "
            f"{', '.join(formats)}. Received: path={str(path)!r}"
        )
    return write_atomically(path, encode(picture, formats[path.suffix.lower()]))


# === Numbers to colours ===


def to_display(pixels: ArrayLike, percentile: float | None = None) -> Picture:
    """Shows signed projections: zero becomes mid-grey, the sign is kept (method.md, Signed pixels).

    Each is scaled by its own largest magnitude, jointly over its colours, so that grey stays
    grey: ``0.5 + r / (2 max|r|)``.

    Args:
        pixels: (..., H, W, C) signed numbers.
        percentile: scale by this percentile of the non-zero magnitudes (say 99.5), not the maximum.

    Returns:
        uint8 of the same shape.

    Example:
        >>> to_display(np.array([[[-2.0, 0.0, 1.0]]]))
        array([[[  0, 128, 191]]], dtype=uint8)
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.float16:  # thousands of which would be copied for nothing
        pixels = pixels.astype(np.float32, copy=False)
    if pixels.ndim < 3 or not np.isfinite(pixels).all():
        raise ValueError(
            "Cannot show these pixels. They must be finite numbers of shape (..., H, W, C). "
            f"Received: pixels with shape={pixels.shape}, finite={np.isfinite(pixels).all()}"
        )
    if percentile is not None and not 0 < percentile <= 100:
        raise ValueError(f"A percentile lies in 0..100, above 0. Received: percentile={percentile}")
    shown = np.empty(pixels.shape, np.uint8)
    size = math.prod(pixels.shape[-3:])
    # One at a time, in the same two buffers: thousands are shown, and these stay in the cache.
    signal, magnitude = np.empty(size, np.float32), np.empty(size, np.float32)
    for picture, target in zip(pixels.reshape(-1, size), shown.reshape(-1, size), strict=True):
        signal[:] = picture
        signal /= _scale(np.abs(signal, out=magnitude), percentile)
        signal.clip(-1, 1, out=signal)
        signal /= 2
        signal += 0.5
        signal *= 255
        np.copyto(target, np.rint(signal, out=signal), casting="unsafe")
    return shown


def _scale(magnitude: NDArray[np.float32], percentile: float | None) -> np.float32:
    """This percentile of the numbers above zero, or the largest; 1 where there are none."""
    if not magnitude.any():
        return np.float32(1)
    if percentile is None:
        return magnitude.max()
    return np.percentile(magnitude[magnitude > 0], percentile, overwrite_input=True)


def colour_map(values: ArrayLike, low: float | None = None, high: float | None = None) -> Picture:
    """Colours numbers from dark violet (low) to yellow (high), as uint8 (..., 3).

    The map is viridis, which is perceptually uniform.

    Args:
        values: any shape, finite.
        low, high: the numbers shown darkest and brightest; default: the extremes.

    Example:
        >>> colour_map([0.0, 1.0])
        array([[ 68,   1,  84],
               [253, 231,  37]], dtype=uint8)
    """
    values = np.asarray(values, dtype=float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Cannot colour these values. They must be one or more finite numbers. "
            f"Received: values with shape={values.shape}"
        )
    low, high = values.min() if low is None else low, values.max() if high is None else high
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    steps = np.linspace(0, 1, len(_VIRIDIS))
    colours = [np.interp(scaled, steps, _VIRIDIS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def overlay(
    picture: ArrayLike,
    heat: ArrayLike,
    alpha: float = 0.55,
    low: float | None = None,
    high: float | None = None,
) -> Picture:
    """Lays a heat map over the greyed picture.

    Args:
        picture: (H, W, 3) uint8.
        heat: (h, w) numbers; stretched to the picture when of another size.
        alpha: 0 shows the picture only, 1 the heat only.
        low, high: as in `colour_map`.

    Example:
        >>> overlay(np.zeros((4, 6, 3), np.uint8), np.eye(2)).shape
        (4, 6, 3)
    """
    picture, heat = as_picture(picture), np.asarray(heat, dtype=np.float32)
    if heat.ndim != 2 or not 0 <= alpha <= 1:
        raise ValueError(
            "Cannot lay the heat over the picture. The heat must have shape (h, w), alpha must "
            f"lie in 0..1. Received: heat with shape={heat.shape}, alpha={alpha}"
        )
    height, width = picture.shape[:2]
    if heat.shape != (height, width):
        bilinear = Image.Resampling.BILINEAR
        heat = np.asarray(Image.fromarray(heat).resize((width, height), bilinear))
    grey = np.asarray(Image.fromarray(picture).convert("L"), dtype=float)[..., None]
    mixed = (1 - alpha) * (picture if alpha == 0 else grey) + alpha * colour_map(heat, low, high)
    return np.rint(mixed).astype(np.uint8)


# === Laying out ===


def grid(
    pictures: Sequence[ArrayLike] | Pictures,
    columns: int | None = None,
    padding: int = 2,
    background: int | Colour = 255,
) -> Picture:
    """Lays pictures of one size out in rows; every one of them appears, in reading order.

    Args:
        pictures: one or more (H, W, 3) uint8.
        columns: pictures a row; default: as square as it gets.
        padding: pixels between and around the pictures.
        background: colour of the padding and of empty places.

    Example:
        >>> grid(np.zeros((5, 8, 6, 3), np.uint8), columns=2, padding=1).shape
        (28, 15, 3)
    """
    tiles = [as_picture(picture) for picture in pictures]
    columns = math.ceil(math.sqrt(len(tiles))) if columns is None else columns
    if len({tile.shape for tile in tiles}) != 1 or columns < 1 or padding < 0:
        raise ValueError(
            "Cannot lay out these pictures. There must be one or more, all of one size, in one "
            f"or more columns, with no negative padding. Received: {len(tiles)} pictures of "
            f"shapes {sorted({tile.shape for tile in tiles})}, columns={columns}, "
            f"padding={padding}"
        )
    height, width = tiles[0].shape[:2]
    rows, columns = math.ceil(len(tiles) / columns), min(columns, len(tiles))
    step_y, step_x = height + padding, width + padding
    sheet = np.empty((rows * step_y + padding, columns * step_x + padding, 3), np.uint8)
    sheet[:] = background
    for index, tile in enumerate(tiles):
        top = padding + index // columns * step_y
        left = padding + index % columns * step_x
        sheet[top : top + height, left : left + width] = tile
    return sheet


def frame(
    picture: ArrayLike,
    box: tuple[int, int, int, int],
    colour: Colour = (255, 210, 0),
    thickness: int = 2,
) -> Picture:
    """Draws the outline of a half-open (top, left, bottom, right) box inside its own edge.

    Example:
        >>> frame(np.zeros((3, 4, 3), np.uint8), (0, 1, 3, 4), thickness=1)[:, :, 0]
        array([[  0, 255, 255, 255],
               [  0, 255,   0, 255],
               [  0, 255, 255, 255]], dtype=uint8)
    """
    top, left, bottom, right = box
    framed = as_picture(picture).copy()
    inside = (
        slice(top + thickness, max(0, bottom - thickness)),
        slice(left + thickness, max(0, right - thickness)),
    )
    kept = framed[inside].copy()
    framed[top:bottom, left:right] = colour
    framed[inside] = kept
    return framed


def label(picture: ArrayLike, text: str, size: int = 13) -> Picture:
    """Adds a white strip with dark text, wrapped to the picture's width, below it.

    Example:
        >>> label(np.zeros((20, 100, 3), np.uint8), "conv5, map 12").shape[1]
        100
    """
    picture = as_picture(picture)
    font = ImageFont.load_default(size)
    letters = max(1, int(picture.shape[1] / (0.55 * size)))
    lines = textwrap.wrap(text, letters) or [""]
    line_height = round(1.4 * size)
    strip = Image.new("RGB", (picture.shape[1], line_height * len(lines) + size // 2), "white")
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        draw.text((2, size // 4 + number * line_height), line, fill=(40, 40, 40), font=font)
    return np.concatenate([picture, np.asarray(strip)])

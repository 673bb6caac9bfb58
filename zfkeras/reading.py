"""How pictures are read, said once: which files, and seen how.

This is the policy and its half in Pillow; the half in TensorFlow, for data sets and the exported
graph, is in `zfkeras.data.decode` and `zfkeras.data.preprocess`. `tests/test_reading.py` holds
the two against each other. No TensorFlow here: a client must not need it.

- The EXIF orientation is applied. What is transparent shows white.
- Of an animation the first picture counts.
- All modes become 8-bit RGB by what they mean; 16 bits keep their high byte.
"""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

Picture = NDArray[np.uint8]

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")

# About 8000 x 8000: 200 MB decoded. A few hundred bytes can claim far more than that.
MAX_PIXELS = 2**26


_ORIENTATION = 0x0112


# === Files ===


def load(source: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads an image file as it is meant to be seen.

    The EXIF orientation is applied; greyscale, palette, CMYK, Lab, 16-bit and float images become
    8-bit RGB; whatever is transparent shows white.

    Args:
        source: a path, or the bytes of an encoded image.
        max_pixels: refuse larger images before they are decoded (decompression bombs).

    Raises:
        ValueError: it is empty, not an image, damaged, too large, or its numbers mean no colours.

    Example:
        >>> load(portable(Image.new("L", (3, 2), 200)))[0, 0]
        array([200, 200, 200], dtype=uint8)
    """
    name = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if not data:
        raise _unreadable(name, "it has no bytes", max_pixels)
    try:
        image = _opened(data)
        if image.width * image.height > max_pixels:
            raise _unreadable(name, f"it has {image.width} x {image.height} pixels", max_pixels)
        return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise _unreadable(name, "it has no known format", max_pixels) from error
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError, _NoColours) as error:
        raise _unreadable(name, str(error), max_pixels) from error


def portable(image: Image.Image | bytes) -> bytes:
    """A picture as a file that every reader, the exported graph too, shows alike.

    That is a JPEG or PNG as it is, unless it is turned or transparent (older exports heed
    neither); anything else is decoded, and made a PNG of what one sees.

    Args:
        image: An encoded or an open picture.

    Raises:
        ValueError: As `load`.

    Example:
        >>> portable(Image.new("CMYK", (4, 3)))[1:4]
        b'PNG'
    """
    if isinstance(image, bytes):
        return image if _is_plain(image) else _png(load(image))
    try:
        return _png(_to_rgb(ImageOps.exif_transpose(image)))
    except _NoColours as error:
        raise _unreadable(f"{type(image).__name__} of mode {image.mode}", str(error)) from error


def _opened(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        # Our own limit is stricter than Pillow's warning and names the file.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(data))


def _is_plain(data: bytes) -> bool:
    try:
        image = _opened(data)
        return (
            image.format in ("JPEG", "PNG")
            and not image.has_transparency_data
            and image.getexif().get(_ORIENTATION, 1) == 1
        )
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return False


def _png(picture: Image.Image | Picture) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # it is read again at once
    return buffer.getvalue()


def _unreadable(name: str, reason: str, max_pixels: int = MAX_PIXELS) -> ValueError:
    return ValueError(
        f"Cannot read an image: {reason}. Expected a whole JPEG, PNG, GIF, BMP, TIFF or WebP "
        f"file of at most {max_pixels} pixels. Received: source={name!r}"
    )


# === Modes ===


class _NoColours(Exception):
    """The numbers of a picture have no meaning as colours."""


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return converted or image
    try:
        if image.has_transparency_data or image.mode == "La":
            image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except ValueError as error:
        raise _NoColours(f"its mode, {image.mode}, can't be shown as RGB") from error


def _eight_bits(values: NDArray, mode: str) -> Picture:
    """Numbers of more than 8 bits as 0..255: Pillow would clip them, not scale.

    16-bit files say how long their numbers are; of others only the range tells what they mean.
    """
    if mode.startswith("I;16"):
        return (values >> 8).astype(np.uint8)
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1 and mode == "F":
        return np.rint(values * 255).astype(np.uint8)
    if low >= 0 and high <= 255:
        return np.rint(values).astype(np.uint8)
    if low >= 0 and high <= 65535 and mode == "I":
        return (values >> 8).astype(np.uint8)
    raise _NoColours(
        f"its numbers, {low:g} to {high:g} in mode {mode}, are neither 0..255 nor "
        f"{'0..1' if mode == 'F' else '0..65535'}"
    )


# === Arrays ===

GREY = (0.299, 0.587, 0.114)  # of red, green and blue (Rec. 601), as Pillow's "L"


def to_grey(pictures: ArrayLike) -> NDArray:
    """Pictures (..., H, W, 3) in grey: (..., H, W, 1), the `GREY` mean of the colours.

    Of uint8 it is rounded; other numbers stay of their type.

    Example:
        >>> to_grey(np.full((1, 1, 3), (255, 0, 0), np.uint8)).tolist()
        [[[76]]]
    """
    pictures = np.asarray(pictures)
    grey = (pictures @ np.array(GREY))[..., None]
    return (np.rint(grey) if pictures.dtype == np.uint8 else grey).astype(pictures.dtype)


def to_rgb(pictures: ArrayLike) -> NDArray:
    """Pictures (..., H, W, 1 or 3) as (..., H, W, 3): grey in three equal colours.

    Example:
        >>> to_rgb(np.full((4, 5, 1), 7, np.uint8)).shape
        (4, 5, 3)
    """
    pictures = np.asarray(pictures)
    return np.broadcast_to(pictures, (*pictures.shape[:-1], 3))


def as_picture(array: ArrayLike) -> Picture:
    """An array as a picture (H, W, 3); grey ones may lack the colours.

    Raises:
        ValueError: it is no picture.

    Example:
        >>> as_picture(np.zeros((4, 5), np.uint8)).shape
        (4, 5, 3)
    """
    picture = np.asarray(array)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = to_rgb(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(
            "This is not a picture. Expected uint8 of shape (H, W, 3), (H, W, 1) or (H, W). "
            f"Received: dtype={picture.dtype}, shape={picture.shape}"
        )
    return picture

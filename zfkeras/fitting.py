"""Pictures of any size to the size that a net takes: cropped, stretched or padded.

`zfkeras.data.preprocess.fitted` does the same in TensorFlow; `tests/test_fitting.py` holds the two
against each other.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from zfkeras.reading import Picture, as_picture

FITS = ("crop", "stretch", "pad")
LONGEST = 32  # times the shorter side; what is longer is cut to that before it is cropped
TESTED = 8 / 7  # of the net's input, what nets are tested, searched and served at: 256 for 224
PADDING = 128  # the grey beside a padded picture, which is what an occluder shows, too

_BILINEAR = Image.Resampling.BILINEAR


def fit(
    picture: ArrayLike, size: int | tuple[int, int], how: str = "crop", scale: float = 1.0
) -> Picture:
    """Brings a picture to a size.

    Args:
        picture: (H, W, 3) uint8, or grey.
        size: a side or (height, width).
        how: "crop" enlarges or shrinks it until it covers `size` and cuts out its centre (the
            papers' "smallest side to S, centre crop of S"), "stretch" changes its shape, "pad"
            shows all of it with grey beside it.
        scale: what "crop" covers, relative to `size`: 8/7 for the papers' 224 of 256.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: a side or `scale` is below 1, or there is no such way.

    Example:
        >>> fit(np.zeros((40, 90, 3), np.uint8), (20, 30)).shape
        (20, 30, 3)
        >>> fit(np.zeros((40, 80, 3), np.uint8), 4, "pad")[:, 0, 0]
        array([128,   0,   0, 128], dtype=uint8)
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(
            f"Cannot fit a picture into nothing. Sides must be at least 1. Received: size={size!r}"
        )
    image = Image.fromarray(as_picture(picture))
    if check_fit(how, scale) == "stretch":
        return np.array(image.resize((width, height), _BILINEAR))
    if how == "crop":
        return _crop(image, (height, width), scale)
    inner = contained((image.height, image.width), (height, width))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    padded = np.full((height, width, 3), PADDING, np.uint8)
    resized = np.asarray(image.resize(inner[::-1], _BILINEAR))
    padded[top : top + inner[0], left : left + inner[1]] = resized
    return padded


def _crop(image: Image.Image, size: tuple[int, int], scale: float) -> Picture:
    height, width = not_too_long((image.height, image.width))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    whole = covering((height, width), (round(size[0] * scale), round(size[1] * scale)))
    pixels = np.asarray(image.resize(whole[::-1], _BILINEAR))
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    return pixels[top : top + size[0], left : left + size[1]].copy()


def placement(
    size: tuple[int, int], wanted: tuple[int, int], how: str = "crop"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where `fit` puts a picture: the scale and the shift, both (2,), of its pixels' edges.

    Example:
        >>> [each.tolist() for each in placement((40, 90), (20, 30))]
        [[0.5, 0.5], [0.0, -7.0]]
    """
    if how == "crop":
        kept = not_too_long(size)
        whole = np.array(covering(kept, wanted))
        before = (np.array(size) - kept) // 2 * whole / kept
        return whole / kept, -((whole - wanted) // 2) - before
    inner = np.array(contained(size, wanted) if how == "pad" else wanted)
    return inner / size, (np.array(wanted) - inner) // 2


def not_too_long(size: tuple[int, int]) -> tuple[int, int]:
    """The middle of a long and thin picture: enlarged to cover, all of it would fill the memory.

    Example:
        >>> not_too_long((40, 90)), not_too_long((1, 20_000))
        ((40, 90), (1, 32))
    """
    most = LONGEST * min(size)
    return min(size[0], most), min(size[1], most)


def covering(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The smallest (height, width) of the same shape that covers another.

    Example:
        >>> covering((40, 90), (20, 30))
        (20, 45)
    """
    ratio = max(wanted[0] / size[0], wanted[1] / size[1])
    return round(size[0] * ratio), round(size[1] * ratio)


def contained(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of the same shape inside another, at least a pixel.

    Example:
        >>> contained((40, 80), (30, 30)), contained((1, 1000), (30, 30))
        ((15, 30), (1, 30))
    """
    ratio = min(wanted[0] / size[0], wanted[1] / size[1])
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def check_fit(how: str, scale: float = 1.0) -> str:
    """One of `FITS`.

    Raises:
        ValueError: it is none, or a picture of that scale would not cover a crop.

    Example:
        >>> check_fit("squash")
        Traceback (most recent call last):
        ValueError: There is no such way to fit a picture. Expected crop, ... Received: fit='squash'
    """
    if how not in FITS:
        raise ValueError(
            "There is no such way to fit a picture. Expected crop, stretch or pad. "
            f"Received: fit={how!r}"
        )
    if not scale >= 1:
        raise ValueError(
            f"A picture has to cover the crop: the scale must be 1 or more. Received: scale={scale}"
        )
    return how

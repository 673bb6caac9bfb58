"""Images from wherever the user has them: an array, a picture, a folder, a `tf.data.Dataset`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from zfkeras import fitting, reading
from zfkeras.data.walk import files_below
from zfkeras.reading import EXTENSIONS

Images: TypeAlias = ArrayLike | str | os.PathLike[str] | tf.data.Dataset


def pictures(
    source: Images,
    image_size: tuple[int | None, int | None] = (None, None),
    channels: int | None = None,
    fit: str = "crop",
) -> NDArray:
    """Gathers images into one array.

    Args:
        source: (N, H, W, C) array or tensor; the path of a picture, or of a folder whose pictures
            (at any depth) are taken in the order of their names; or a `tf.data.Dataset` of images
            or of tuples that begin with them, batched or not.
        image_size: (height, width) that pictures from files and data sets (of 0..255) are
            brought to; None for as they are. Arrays are left as they are.
        channels: 1 for grey: of pictures in colour, from files or a data set, the mean is taken.
        fit: How they are brought to a size: "crop" (the smallest that covers it, then the centre),
            "stretch" or "pad", as in `zfkeras.image.fit`.

    Returns:
        (N, H, W, C), uint8 for files.

    Raises:
        TypeError: `source` is nothing of this kind.
        ValueError: There are no pictures, or they are of different sizes.

    Example:
        >>> pictures(np.zeros((2, 5, 4, 3))).shape
        (2, 5, 4, 3)
    """
    if isinstance(source, (str, os.PathLike)):
        found = [reading.load(path) for path in picture_files(source)]
    elif hasattr(source, "as_numpy_iterator"):
        found = list(_elements(source))
    elif hasattr(source, "__array__") or isinstance(source, (list, tuple)):
        return np.asarray(source)
    else:
        raise TypeError(
            "Images must be an array (N, H, W, C), the path of a picture or folder, or a "
            f"tf.data.Dataset. Received: images of type {type(source).__name__}"
        )
    images = _stack(found, image_size, source, fit)
    return reading.to_grey(images) if channels == 1 and images.shape[3] == 3 else images


def picture_files(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures at `path`: itself, or those below it, sorted.

    Raises:
        ValueError: There is none.
    """
    root = Path(path)
    files = sorted(files_below(root, EXTENSIONS)) if root.is_dir() else [root]
    files = [file for file in files if file.is_file() and file.suffix.lower() in EXTENSIONS]
    if not files:
        raise ValueError(
            "There are no pictures here. Expected a picture or a folder of pictures that end in "
            f"{', '.join(EXTENSIONS)}. Received: path={str(path)!r}"
        )
    return files


def _elements(dataset: tf.data.Dataset) -> Iterator[NDArray]:
    for element in dataset.as_numpy_iterator():
        images = element[0] if isinstance(element, tuple) else element
        if isinstance(images, dict) or np.ndim(images) not in (3, 4):
            raise ValueError(
                "The data set must hold images (H, W, C) or batches (N, H, W, C), alone or first "
                f"in a tuple. Received: an element {type(element).__name__} with shape "
                f"{np.shape(images)}"
            )
        yield from images if np.ndim(images) == 4 else [images]


def _stack(found: list[NDArray], image_size: Any, source: Images, fit: str) -> NDArray:
    if None not in image_size:
        found = [_fit(picture, image_size, fit) for picture in found]
    shapes = {picture.shape for picture in found}
    if len(shapes) != 1:
        raise ValueError(
            "The images must all have one size, as the model's input does not fix it. "
            f"Received: images={source!r} with shapes {sorted(shapes)[:5]}"
        )
    return np.stack(found)


def _fit(picture: NDArray, size: tuple[int, int], how: str) -> NDArray:
    """Leaves images that fit alone, whatever their type; others are rounded to uint8."""
    if picture.shape[:2] == size:
        return picture
    if are_fractions(picture):
        raise ValueError(
            "Only pictures of 0..255 are brought to a size. Expected images of fractions to be of "
            f"the model's {size[0]} x {size[1]}. Received: images of {picture.shape[:2]} in "
            f"{picture.min():.3g}..{picture.max():.3g}"
        )
    return fitting.fit(np.rint(picture).clip(0, 255).astype(np.uint8), size, how)


def are_fractions(images: NDArray) -> bool:
    """Whether pixels lie in 0..1 or -1..1, and not in 0..255.

    Example:
        >>> are_fractions(np.array([0.0, 0.5])), are_fractions(np.array([0.0, 1.0]))
        (True, False)
    """
    if images.dtype.kind != "f" or not images.size or images.max() > 1 or images.min() < -1:
        return False
    return bool((np.rint(images) != images).any())

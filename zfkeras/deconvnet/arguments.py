"""What users give the deconvnet to project, checked."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zfkeras.data.inputs import warn_of_fractions
from zfkeras.data.pictures import Images, pictures
from zfkeras.graph.walking import IMAGES, Graph
from zfkeras.types import Tensor

Position = str | tuple[int, int]


def check_pixels(images: Images, graph: Graph) -> np.ndarray:
    """`images` in the model's dtype, if they fit it."""
    shape = graph.shapes[IMAGES]
    array = pictures(images, (shape[1], shape[2]), shape[3])
    if array.dtype.kind not in "uif":
        raise TypeError(
            "`images` must be integers or floats, such as uint8 or float32. "
            f"Received: images.dtype={array.dtype}"
        )
    fits = array.ndim == 4 and all(
        expected in (None, size) for expected, size in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        hint = " (for a single image, images[None])" if array.ndim == 3 else ""
        raise ValueError(
            f"`images` must be a batch of shape {('N', *shape[1:])}, as model '{graph.name}' takes "
            f"it{hint}. Received: images.shape={array.shape}"
        )
    array = array.astype(graph.dtype, copy=False)
    bad = np.flatnonzero(~np.isfinite(array).all((1, 2, 3)))
    if bad.size:
        raise ValueError(
            "`images` must be finite numbers; there are NaN or infinite pixels. "
            f"Received: images[{bad[0]}] with such pixels ({bad.size} images in all)"
        )
    warn_of_fractions(array, [step.operation for step in graph.steps[:4]])
    return array


def check_channels(channels: Tensor, depth: int, layer: str) -> int | list[int]:
    """A number of channels, or the channels themselves."""
    if channels is None:
        return list(range(depth))
    array = np.asarray(channels)
    if array.ndim > 1 or (array.size and array.dtype.kind not in "ui"):
        raise TypeError(
            "`channels` must be an int (the k strongest), a list of ints, or None (all). "
            f"Received: channels={channels!r}"
        )
    is_count = array.ndim == 0
    low, high = (1, depth) if is_count else (0, depth - 1)
    if array.size == 0 or array.min() < low or array.max() > high:
        raise ValueError(
            f"`channels` must be a number from 1 to {depth} (the k strongest), a list of channels "
            f"from 0 to {depth - 1}, or None; layer '{layer}' has {depth}. "
            f"Received: channels={channels!r}"
        )
    return array.tolist()


def check_position(position: Any) -> Position:
    """ "max", "all" or a (row, column) of integers."""
    if isinstance(position, str) and position in ("max", "all"):
        return position
    place = np.asarray(position)
    if place.shape != (2,) or place.dtype.kind not in "ui":
        raise ValueError(
            "`position` must be 'max' (the strongest unit), 'all' (the whole map) or a "
            f"(row, column) of integers. Received: position={position!r}"
        )
    row, column = place.tolist()
    return row, column


def check_inside(position: Any, size: tuple[int, int], layer: str) -> tuple[int, int]:
    """A (row, column) that lies in the map of a layer."""
    row, column = position
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ValueError(
            f"`position` must lie in the map of layer '{layer}', rows 0 to {size[0] - 1} and "
            f"columns 0 to {size[1] - 1}. Received: position={position!r}"
        )
    return row, column


def check_projections(pixels: np.ndarray, layer: str) -> None:
    """Raises unless the projections are finite."""
    if not np.isfinite(pixels).all():
        raise ValueError(
            f"The projections from layer '{layer}' must be finite numbers: check the model's "
            f"weights and its activations. Received: {np.sum(~np.isfinite(pixels))} pixels that "
            "are NaN or infinite"
        )


def check_units(units: ArrayLike, allowed: tuple[int, ...], layer: str) -> np.ndarray:
    """`units` as int64 (U, 4), if all lie in the layer's maps of the images."""
    array = np.asarray(units)
    if array.size == 0:
        return np.zeros((0, 4), "int64")
    if array.dtype.kind not in "ui":
        raise TypeError(
            "`units` must be integers: image, row, column and channel of each unit. "
            f"Received: units of dtype {array.dtype}"
        )
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(
            "`units` must be of shape (U, 4): image, row, column and channel of each unit. "
            f"Received: units.shape={array.shape}"
        )
    wrong = np.flatnonzero(((array < 0) | (array >= allowed)).any(1))
    if wrong.size:
        images, rows, columns, channels = allowed
        raise ValueError(
            f"`units` must be images 0 to {images - 1}, rows 0 to {rows - 1}, columns 0 to "
            f"{columns - 1} and channels 0 to {channels - 1} of layer '{layer}'. "
            f"Received: units[{wrong[0]}]={array[wrong[0]].tolist()} ({wrong.size} such in all)"
        )
    return array.astype("int64")

"""The patches of images that units see."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cut_patches(
    images: Sequence[ArrayLike] | NDArray,
    index: ArrayLike,
    boxes: ArrayLike,
    fill_value: float | None = None,
) -> list[np.ndarray] | np.ndarray:
    """Cuts boxes out of images.

    Args:
        images: (N, H, W, C) array, or a sequence of images (H, W, C).
        index: (U,) which image each patch is of.
        boxes: (U, 4) integers (top, left, bottom, right), half-open; they may hang over the
            border, such as `UnitProjections.boxes`.
        fill_value: What to put outside the image; None clips the patches at the border.

    Returns:
        A list of U arrays (h, w, C) in the images' dtype, each of its own size; with `fill_value`
        an array (U, h, w, C), if the boxes are all of one size, else a list still.

    Raises:
        ValueError: Not as many boxes as indices, an index that is no image, or a box that holds no
            pixel of its image.

    Example:
        >>> images = np.arange(2 * 4 * 5).reshape(2, 4, 5, 1)
        >>> (patch,) = cut_patches(images, [1], [[-1, 3, 2, 6]])
        >>> patch[..., 0].tolist()
        [[23, 24], [28, 29]]
        >>> cut_patches(images, [1], [[-1, 3, 2, 6]], fill_value=0)[0, ..., 0].tolist()
        [[0, 0, 0], [23, 24, 0], [28, 29, 0]]
    """
    index, boxes = np.asarray(index, int), np.asarray(boxes, int).reshape(-1, 4)
    if len(index) != len(boxes):
        raise ValueError(
            "`boxes` must be (U, 4), a box for each of the U indices. "
            f"Received: {len(index)} indices, boxes.shape={boxes.shape}"
        )
    if index.size and not 0 <= index.min() <= index.max() < len(images):
        raise ValueError(f"`index` must be images 0 to {len(images) - 1}. Received: index={index}")
    patches = [
        _cut(np.asarray(images[i]), box, fill_value) for i, box in zip(index, boxes, strict=True)
    ]
    same_size = len({patch.shape for patch in patches}) == 1
    return np.stack(patches) if fill_value is not None and same_size else patches


def _cut(image: np.ndarray, box: np.ndarray, fill_value: float | None) -> np.ndarray:
    height, width = image.shape[:2]
    top, left, bottom, right = np.clip(box, 0, [height, width] * 2)
    if top >= bottom or left >= right:
        raise ValueError(
            f"`boxes` must hold pixels of their images. Received: box={box.tolist()} of an image "
            f"of {height}x{width}"
        )
    inside = image[top:bottom, left:right]
    if fill_value is None:
        return inside.copy()
    margins = [(top - box[0], box[2] - bottom), (left - box[1], box[3] - right), (0, 0)]
    return np.pad(inside, margins, constant_values=fill_value)

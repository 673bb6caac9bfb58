"""The occluder of Fig. 7: a rectangle painted on raw pixels, and the places it goes to."""

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from zfkeras.data.pictures import are_fractions
from zfkeras.types import Tensor


def occlude(
    images: tf.Tensor,
    rows: tf.Tensor,
    columns: tf.Tensor,
    patch_size: tuple[Tensor, Tensor],
    fill_value: ArrayLike,
) -> tf.Tensor:
    """Paints a rectangle around one place of each image, clipped at the borders.

    Traceable: every argument may be a tensor inside a tf.function.

    Args:
        images: [N, H, W, C] of any numeric type.
        rows: [N] integer centres; a rectangle of height h covers rows - h // 2 and h - 1 more.
        columns: [N] integer centres.
        patch_size: (height, width), integers or [N] tensors.
        fill_value: anything that broadcasts to [N, H, W, C], such as a number.

    Returns:
        [N, H, W, C] of the images' type.

    Example:
        >>> occlude(tf.zeros([1, 3, 4, 1]), [0], [3], (2, 3), 9.)[0, :, :, 0].numpy()
        array([[0., 0., 9., 9.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.]], dtype=float32)
    """
    images = tf.convert_to_tensor(images)
    hidden_rows, hidden_columns = (
        covers(tf.cast(centre, tf.int32), tf.range(length), tf.cast(size, tf.int32))
        for centre, length, size in zip(
            (rows, columns), tf.unstack(tf.shape(images)[1:3]), patch_size, strict=True
        )
    )
    hidden = hidden_rows[:, :, None, None] & hidden_columns[:, None, :, None]
    return tf.where(hidden, tf.cast(fill_value, images.dtype), images)


BORDERS = ("cover", "inside")


def centres(length: int, size: int, step: int, border: str = "cover") -> NDArray[np.int64]:
    """Occluder centres along one axis.

    Args:
        length: Pixels of the axis.
        size: Those that the occluder covers.
        step: From one centre to the next.
        border: "cover": 0, s, 2s, … on until the last pixel is covered. "inside": only where all
            of the occluder lies on the axis, from its start on.

    Example:
        >>> centres(10, size=4, step=4)
        array([0, 4, 8])
        >>> centres(11, size=4, step=4)
        array([ 0,  4,  8, 12])
        >>> centres(11, size=4, step=4, border="inside")
        array([2, 6])
    """
    if step > size:
        raise ValueError(
            "The occluder would skip pixels. Strides must be at most the patch size. "
            f"Received: patch_size={size}, strides={step}"
        )
    if border == "inside":
        if size > length:
            raise ValueError(
                "The occluder does not fit into the image. Expected a patch_size of at most "
                f"{length} with border='inside'. Received: patch_size={size}"
            )
        return np.arange(0, length - size + 1, step) + size // 2
    # The last centre c covers up to c + ceil(size / 2); the image itself ends at length.
    count = max(-(-length // step), -(-(length - (size - size // 2)) // step) + 1)
    return np.arange(count) * step


def covers(centre: Tensor, pixels: Tensor, size: Tensor) -> Tensor:
    """Which pixels (L,) the occluders around the centres (N,) hide, as booleans (N, L).

    Arrays or tensors; `size` is a number or (N,).

    Example:
        >>> covers(np.array([0, 2]), np.arange(4), 3).astype(int)
        array([[1, 1, 0, 0],
               [0, 1, 1, 1]])
    """
    start = centre - size // 2
    return (pixels >= start[:, None]) & (pixels < (start + size)[:, None])


def a_fifth(size: Sequence[int]) -> int:
    """The occluder's side where none is given: a fifth of the shorter side of (H, W).

    Example:
        >>> a_fifth((224, 250)), a_fifth((3, 2))
        (45, 1)
    """
    return max(1, round(min(size) / 5))


def a_grid(size: Sequence[int]) -> int:
    """The occluder's steps where none are given: some 28 places along the shorter side of (H, W).

    Example:
        >>> a_grid((224, 250)), a_grid((3, 2))
        (8, 1)
    """
    return max(1, min(size) // 28)


def rectangle(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    """Checks a side or (height, width) of whole numbers; `name` is the argument's.

    Example:
        >>> rectangle("patch_size", 45)
        (45, 45)
    """
    pair = np.broadcast_to(value, 2) if np.size(value) in (1, 2) else np.zeros(2)
    if not np.issubdtype(pair.dtype, np.integer) or (pair < 1).any():
        raise ValueError(
            f"The {name} makes no rectangle. Expected one or two whole numbers of at least 1. "
            f"Received: {name}={value!r}"
        )
    return int(pair[0]), int(pair[1])


def paint(
    images: NDArray[np.float32],
    fill_value: ArrayLike | str,
    patch_size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """What hides each image (N, H, W, C): colours as (N, 1, 1, C), or pictures (N, H, W, C).

    Args:
        images: (N, H, W, C) float32.
        fill_value: A grey value, one value a channel, "mean" (each image's mean colour) or "blur"
            (each image, blurred; see `blurred`).
        patch_size: (height, width) of the occluder, which "blur" needs.

    Raises:
        ValueError: There is no such paint.

    Example:
        >>> images = np.zeros((2, 7, 5, 3), np.float32)
        >>> paint(images, 128).shape, paint(images, "blur", (4, 2)).shape
        ((2, 1, 1, 3), (2, 7, 5, 3))
    """
    if isinstance(fill_value, str) and fill_value == "mean":
        return images.mean(axis=(1, 2), keepdims=True)
    if isinstance(fill_value, str) and fill_value == "blur" and patch_size is not None:
        return blurred(images, min(patch_size) / 4)
    count, channels = len(images), images.shape[-1]
    colour = np.zeros(0) if isinstance(fill_value, str) else np.asarray(fill_value, np.float32)
    if colour.shape not in ((), (channels,)) or not np.isfinite(colour).all():
        names = '"mean"' if patch_size is None else '"mean" or "blur"'
        raise ValueError(
            f"The occluder has no colour. Expected a number, {channels} numbers or {names}. "
            f"Received: fill_value={fill_value!r}"
        )
    if np.abs(colour).max() > 2 and are_fractions(images):
        warnings.warn(
            "The occluder lies far outside the images' range. Expected a fill_value in "
            f"{images.min():.3g}..{images.max():.3g}, such as 0.5 or 'mean'. "
            f"Received: fill_value={fill_value!r}",
            stacklevel=4,
        )
    return np.broadcast_to(colour, (count, 1, 1, channels)).astype(np.float32)


def blurred(images: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The images (N, H, W, C) after a Gaussian of so many pixels, mirrored at their borders.

    For an occluder sigma is a quarter of its shorter side: 11 pixels for a square of 45 of 224,
    about the 10 that saliency work blurs a baseline with. That is wide enough to lose what the
    occluder covers and narrow enough that its rim matches what is around: hardly an edge is new.

    Example:
        >>> line = np.zeros((1, 1, 5, 1), np.float32)
        >>> line[:, :, 2] = 100
        >>> blurred(line, 0.5).ravel().round(1)
        array([ 0. , 10.6, 78.7, 10.6,  0. ], dtype=float32)
    """
    return ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="reflect")

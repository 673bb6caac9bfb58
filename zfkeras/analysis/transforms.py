"""Images moved, enlarged and turned about their centre (method.md, Invariance)."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from zfkeras.data.pictures import Images
from zfkeras.types import Tensor

KINDS = ("vertical", "horizontal", "scale", "rotation")


def matrix(kind: str, amount: float) -> NDArray[np.float64]:
    """The (2, 2 + 1) map from coordinates (x, y, 1) about the centre of the result to the source.

    Args:
        kind: "vertical" or "horizontal", by `amount` pixels down or right; "scale", enlarged by the
            factor `amount`; "rotation", turned by `amount` degrees anticlockwise as seen.
        amount: How much.

    Example:
        >>> matrix("scale", 2)
        array([[0.5, 0. , 0. ],
               [0. , 0.5, 0. ]])
    """
    across, down, turn, factor = (
        amount * (kind == name) for name in ("horizontal", "vertical", "rotation", "scale")
    )
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    inverse = np.array([[cosine, -sine, -across], [sine, cosine, -down]])
    return inverse / (factor or 1) + 0.0  # no minus zeros


def transform(images: Images, matrices: Tensor, fill: ArrayLike) -> tf.Tensor:
    """Draws each image anew: bilinear, about its centre; what lies outside is filled.

    Args:
        images: [N, H, W, C] float.
        matrices: [N, 2, 3] or [2, 3], see `matrix`.
        fill: What shows where the image does not reach; broadcasts to [N, H, W, C].

    Returns:
        float32 [N, H, W, C].

    Example:
        >>> row = tf.reshape([1., 2., 3.], [1, 1, 3, 1])
        >>> transform(row, matrix("horizontal", 1), 9.)[0, 0, :, 0].numpy()
        array([9., 1., 2.], dtype=float32)
    """
    images = tf.cast(images, tf.float32)
    fill = tf.broadcast_to(tf.cast(fill, tf.float32), tf.shape(images))
    maps = _about_corner(tf.cast(matrices, tf.float32), tf.shape(images))
    # Warping "how much of the image is here" along with it lets any picture be the filling.
    reach = tf.ones_like(images[..., :1])
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.concat([images, reach], -1),
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return warped[..., :-1] + (1 - warped[..., -1:]) * fill


def _about_corner(matrices: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """TensorFlow's eight numbers [N, 8], whose origin is the first pixel."""
    matrices = tf.broadcast_to(matrices, [shape[0], 2, 3])
    centre = (tf.cast(tf.stack([shape[2], shape[1]]), tf.float32) - 1) / 2
    shift = centre + matrices[:, :, 2] - tf.linalg.matvec(matrices[:, :, :2], centre)
    rows = tf.concat([matrices[:, :, :2], shift[:, :, None]], 2)
    return tf.concat([tf.reshape(rows, [-1, 6]), tf.zeros([shape[0], 2])], 1)


def check_amounts(transforms: Any) -> dict[str, NDArray[np.float64]]:
    """Checks {kind: amounts} and gives the amounts as arrays.

    Raises:
        ValueError: An unknown kind, no amounts, or a scale that is not positive.
    """
    amounts = {kind: np.atleast_1d(np.asarray(v, float)) for kind, v in dict(transforms).items()}
    for kind, values in amounts.items():
        good = kind in KINDS and values.ndim == 1 and values.size and np.isfinite(values).all()
        if not good or (kind == "scale" and values.min() <= 0):
            raise ValueError(
                f"Transforms are {', '.join(KINDS)}, each with a list of amounts (pixels, pixels, "
                f"positive factors, degrees). Received: {kind}={np.ravel(values)[:5].tolist()}"
            )
    if not amounts:
        raise ValueError(
            f"There is nothing to do. Allowed are transforms {', '.join(KINDS)}. "
            f"Received: transforms={transforms!r}"
        )
    return amounts

"""What goes into a model: images of its size, from wherever the user has them."""

import keras
import numpy as np
from numpy.typing import NDArray

from zfkeras.data.pictures import Images, pictures

Floats = NDArray[np.float32]


def input_size(model: keras.Model) -> tuple[int, int]:
    """The (height, width) of a model's input.

    Raises:
        ValueError: if the model does not take one image of a fixed size.
    """
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or None in shape[1:3]:
        raise ValueError(
            "The model must have one input (None, H, W, 3) of a fixed size. "
            f"Received: model.input_shape={shape}"
        )
    return shape[1:3]


def image_shape(model: keras.Model) -> tuple[int | None, ...]:
    """(N, H, W, C) that a model takes, None where any size will do.

    Raises:
        ValueError: It takes something else.
    """
    expected = getattr(model, "input_shape", (None,) * 4)
    if not isinstance(expected, tuple) or len(expected) != 4:
        raise ValueError(
            "This model takes no images. Expected one input of shape (N, H, W, C). "
            f"Received: model={model.name!r} with input_shape={expected}"
        )
    return expected


def check_images(model: keras.Model, images: Images, called: str = "images") -> Floats:
    """The images as float32 (N, H, W, C), or an error that says why they do not fit the model.

    They may be an array, a picture, a folder or a `tf.data.Dataset`: see `zfkeras.data.pictures`.
    Errors speak of them as what they are `called`.
    """
    expected = image_shape(model)
    images = pictures(images, (expected[1], expected[2]))
    sizes = zip(expected[1:], images.shape[1:], strict=False)
    fits = images.ndim == 4 and all(wanted in (None, size) for wanted, size in sizes)
    if not fits or not images.size:
        raise ValueError(
            f"The {called} do not fit the model. Expected one or more of shape {expected}. "
            f"Received: {called} with shape={images.shape}"
        )
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise ValueError(
            f"The {called} hold NaN or infinity. Expected finite pixels, usually 0..255. "
            f"Received: {called} with {np.count_nonzero(~np.isfinite(images))} such values"
        )
    return images

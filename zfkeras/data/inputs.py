"""What goes into a model: images of its size, from wherever the user has them."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from zfkeras.data.pictures import Images, are_fractions, pictures
from zfkeras.layers import PixelMean

Floats = NDArray[np.float32]
CHANNELS = (1, 3)  # of pictures


def picture_shape(model: keras.Model) -> tuple[int, int, int]:
    """The (height, width, channels) of the pictures that a model takes.

    Raises:
        ValueError: It takes no pictures of one size, grey or in colour.
    """
    shape = image_shape(model)[1:]
    picture_channels(model)
    if None in shape[:2]:
        raise ValueError(
            "This model takes images of any size, and pictures have to get one. Expected "
            "image_size=(height, width), --image-size HEIGHT,WIDTH on the command line, or a model "
            f"`fixed_size` gave one. Received: model.input_shape={model.input_shape}"
        )
    height, width, channels = (int(length or 0) for length in shape)
    return height, width, channels


def picture_channels(model: keras.Model) -> int:
    """The channels of the pictures that a model takes, of any size: 1 or 3; raises as above."""
    shape = image_shape(model)
    if shape[3] is None:
        raise ValueError(
            "This model does not say what it takes, for it has a `call` of its own. Expected a "
            "Functional or Sequential model of pictures, such as pixels = keras.Input((H, W, 3)); "
            f"keras.Model(pixels, net(pixels)). Received: model={model.name!r}"
        )
    if shape[3] not in CHANNELS:
        raise ValueError(
            "This model takes no pictures. Expected one input (N, H, W, C) in grey or colour: of 1 "
            f"or 3 channels. Received: model.input_shape={shape}"
        )
    return shape[3]


def input_size(model: keras.Model) -> tuple[int, int]:
    """The (height, width) of the pictures that a model takes; raises as `picture_shape`."""
    return picture_shape(model)[:2]


def fixed_size(model: keras.Model, image_size: tuple[int, int] | None) -> keras.Model:
    """A model for images of any size as one for images of a single size.

    It consists of the very layers of `model`, and has its weights. None leaves it as it is.

    Args:
        model: Functional or Sequential model of one image input.
        image_size: (height, width).

    Raises:
        ValueError: The model's input is of another fixed size, or too small for its layers.

    Example:
        >>> pixels = keras.Input((None, None, 3))
        >>> anything = keras.Model(pixels, keras.layers.Conv2D(2, 3, name="c")(pixels))
        >>> fixed_size(anything, (20, 30)).output_shape
        (None, 18, 28, 2)
    """
    if image_size is None:
        return model
    *sizes, channels = image_shape(model)[1:]
    fits = (own in (None, asked) for own, asked in zip(sizes, image_size, strict=True))
    if min(image_size) < 1 or not all(fits):
        raise ValueError(
            f"The model's input can't be of this size. Expected {tuple(sizes)}, where None is "
            f"any number of pixels. Received: image_size={tuple(image_size)}"
        )
    pixels = keras.Input((*image_size, channels), dtype=model.inputs[0].dtype)
    return keras.models.clone_model(model, pixels, clone_function=lambda layer: layer)


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
    images = pictures(images, (expected[1], expected[2]), expected[3])
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
    warn_of_fractions(images, getattr(model, "layers", []), called)
    return images


def warn_of_fractions(
    images: NDArray, operations: Sequence[keras.Operation], called: str = "images"
) -> None:
    """Warns of pixels in 0..1 for a model whose first operations bring 0..255 to such a range."""
    if any(map(_takes_bytes, operations[:4])) and are_fractions(images):
        warnings.warn(
            f"The {called} lie in {images.min():.3g}..{images.max():.3g}, but the model's "
            "preprocessing is for pixels of 0..255. Expected such. Received: "
            f"{called} with fractions",
            stacklevel=3,
        )


def _takes_bytes(operation: keras.Operation) -> bool:
    if isinstance(operation, keras.layers.Rescaling):
        return bool(np.max(np.abs(operation.scale)) <= 1 / 50)
    means = (keras.layers.Normalization, PixelMean)
    mean = getattr(operation, "mean", None) if isinstance(operation, means) else None
    return mean is not None and bool(np.max(np.abs(mean)) > 2)

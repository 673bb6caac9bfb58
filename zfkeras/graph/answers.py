"""What a net answers to images: class probabilities and the outputs of any of its layers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from zfkeras.data.pictures import pictures
from zfkeras.graph.layer_kinds import is_softmax
from zfkeras.graph.walking import walk

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Answers:
    """A net that is asked for probabilities and layers, traced once.

    Args:
        model: Functional or Sequential model from (N, H, W, C) images to (N, classes) scores.
        layers: Names of the layers to read.
        softmax: Whether to turn the outputs into probabilities; default: unless the model ends in
            a softmax. With False the raw scores are given.

    Raises:
        ValueError: The model can't be walked or has no such layer.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 6, 3)), keras.layers.Conv2D(2, 3, name="c"),
        ...                          keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> probabilities, (maps,) = Answers(tiny, ["c"])(np.zeros((5, 8, 6, 3)), batch_size=2)
        >>> probabilities.shape, maps.shape
        ((5, 4), (5, 6, 4, 2))
    """

    def __init__(
        self, model: keras.Model, layers: Sequence[str] = (), softmax: bool | None = None
    ) -> None:
        self._graph = walk(model)
        # A model with one output computes it in its last step.
        self._wanted = [self._graph.steps[-1].outputs[0], *map(self._graph.find, layers)]
        self._softmax = not ends_in_softmax(model) if softmax is None else softmax
        self._traced = tf.function(self.tensors, autograph=False, reduce_retracing=True)

    def tensors(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Probabilities and layers of one batch, all in float32; traceable."""
        values = self._graph.run(tf.cast(images, self._graph.dtype))
        scores, *layers = (tf.cast(values[i], tf.float32) for i in self._wanted)
        return (tf.nn.softmax(scores) if self._softmax else scores), layers

    def __call__(self, images: ArrayLike, batch_size: int = 64) -> tuple[Floats, list[Floats]]:
        """Probabilities (N, classes) and each layer's output (N, …), in batches."""
        images = np.asarray(images, np.float32)
        batches = [
            tf.nest.flatten(self._traced(tf.constant(images[start : start + batch_size])))
            for start in range(0, len(images), batch_size)
        ]
        probabilities, *layers = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return probabilities, layers


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether a model's outputs are probabilities already.

    Example:
        >>> flat = [keras.Input((2, 2, 3)), keras.layers.Flatten()]
        >>> ends_in_softmax(keras.Sequential([*flat, keras.layers.Dense(2, "softmax")]))
        True
    """
    try:
        last = walk(model).steps[-1].operation
    except ValueError as error:
        raise ValueError(
            "Cannot tell whether this model ends in a softmax. Expected a built Functional or "
            f"Sequential model, or softmax=True or False. Received: model={model.name!r}"
        ) from error
    return is_softmax(last)


def check_images(model: keras.Model, images: Any, called: str = "images") -> Floats:
    """The images as float32 (N, H, W, C), or an error that says why they do not fit the model.

    They may be an array, a picture, a folder or a `tf.data.Dataset`: see `zfkeras.data.pictures`.
    Errors speak of them as what they are `called`.
    """
    expected = getattr(model, "input_shape", (None,) * 4)
    if not isinstance(expected, tuple) or len(expected) != 4:
        raise ValueError(
            "This model takes no images. Expected one input of shape (N, H, W, C). "
            f"Received: model={model.name!r} with input_shape={expected}"
        )
    images = pictures(images, expected[1:3])
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


def watched_classes(classes: ArrayLike | None, predicted: Integers, known: int) -> Integers:
    """The classes to watch, (N, K): one, a list for all, or (N, K); default: the predicted."""
    if classes is None:
        return predicted[:, None]
    wanted = np.asarray(classes)
    count = len(predicted)
    good = np.issubdtype(wanted.dtype, np.integer) and wanted.ndim <= 2 and wanted.size > 0
    good = good and (wanted.ndim < 2 or len(wanted) == count)
    if not good or wanted.min() < 0 or wanted.max() >= known:
        raise ValueError(
            f"The model has no such classes. Expected whole numbers in 0..{known - 1}: one, a "
            f"list for all images, or shape ({count}, K). Received: classes={classes!r}"
        )
    wanted = np.atleast_1d(wanted).astype(np.int64)
    return np.broadcast_to(wanted, (count, wanted.shape[-1]))


def class_of_each(classes: ArrayLike | None, predicted: Integers, known: int) -> Integers:
    """One class for each image, (N,): one number for all, one each, or (default) the predicted."""
    each = None if classes is None else np.asarray(classes)
    if each is not None and each.shape not in ((), predicted.shape):
        raise ValueError(
            f"There must be one class for all images or one for each, shape {predicted.shape}. "
            f"Received: classes={classes!r}"
        )
    each = each if each is None or each.ndim == 0 else each[:, None]
    return watched_classes(each, predicted, known)[:, 0]

"""From a source to batches: shuffled and augmented to train, in order and cropped to test.

All randomness derives from (seed, epoch, position in the epoch), so that a training that is
killed and resumed sees exactly what it would have seen.
"""

import tensorflow as tf

from zfkeras.data import preprocess
from zfkeras.data.sources import Source, options, parallel
from zfkeras.fitting import TESTED
from zfkeras.types import Tensor

_SHUFFLE_BUFFER = 50_000  # keys; a folder or array up to that size is shuffled perfectly


def training_batches(
    source: Source,
    augmentation: preprocess.Augmentation,
    batch_size: int,
    seed: int = 0,
    epochs: int = 1,
    initial_epoch: int = 0,
) -> tf.data.Dataset:
    """Shuffled, augmented batches of epochs `initial_epoch` up to `epochs`, one after another.

    Args:
        source: the examples.
        augmentation: how to cut them.
        batch_size: examples a batch. An incomplete last batch of an epoch is dropped, so that
            every step weighs its examples alike and no replica runs dry.
        seed: what everything is drawn from, with the number of the epoch and the position.
        epochs: number of the epoch to stop before.
        initial_epoch: number of the epoch to start with; its batches are the same as if the
            earlier epochs had been drawn too.

    Returns:
        Data set of (float32 (batch, height, width, 3), int64 (batch,)).

    Raises:
        ValueError: if the source has not even one batch.

    >>> import numpy as np
    >>> from zfkeras.data.sources import from_arrays
    >>> source = from_arrays(np.zeros((7, 9, 8, 3)), np.zeros(7, int), ["a"])
    >>> batches = training_batches(source, preprocess.Augmentation((4, 5)), 3)
    >>> [tuple(images.shape) for images, _ in batches]
    [(3, 4, 5, 3), (3, 4, 5, 3)]
    """
    if not 1 <= batch_size <= source.cardinality:
        raise ValueError(
            f"A batch must have 1 to {source.cardinality} examples, all there are in "
            f"{source.name}. Received: batch_size={batch_size}"
        )

    if source.fit != "crop":
        raise ValueError(
            "Training cuts its examples as the recipe says. Expected a source with fit='crop'. "
            f"Received: fit={source.fit!r}"
        )

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # `shuffle` mixes in the global seed; this sets it, for the graph of this function only.
        tf.random.set_seed(1)
        epoch_seed = tf.random.fold_in([seed, 0], epoch)
        buffer = min(source.cardinality, _SHUFFLE_BUFFER)
        shuffle_seed = tf.cast(tf.random.split(epoch_seed, 1)[0, 0], tf.int64)
        keys = source.keys.shuffle(buffer, shuffle_seed, reshuffle_each_iteration=False)

        def example(position: tf.Tensor, key: Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            picture, label = source.fetch(*key) if isinstance(key, tuple) else source.fetch(key)
            example_seed = tf.random.fold_in(epoch_seed, position)
            return preprocess.training_example(picture, augmentation, example_seed), label

        return parallel(keys.enumerate(), example).batch(batch_size, drop_remainder=True)

    numbers = tf.data.Dataset.range(initial_epoch, epochs)
    return numbers.flat_map(epoch_batches).prefetch(2).with_options(options())


def evaluation_batches(
    source: Source,
    image_size: tuple[int, int],
    batch_size: int = 64,
    scale: float = TESTED,
    ten_crop: bool = False,
    channels: int = 3,
) -> tf.data.Dataset:
    """Batches of the whole source in order, cut as the papers test.

    Args:
        source: the examples.
        image_size: (height, width) of a crop.
        batch_size: examples a batch; the last may have fewer.
        scale: the picture is resized to cover `scale * image_size` before it is cropped.
        ten_crop: whether to cut ten crops of each picture instead of the central one.
        channels: 1 for pictures in grey.

    Returns:
        Data set of (float32 (batch, height, width, channels), int64 (batch,)), or with `ten_crop`
        (float32 (batch, 10, height, width, channels), int64 (batch,)).

    >>> import numpy as np
    >>> from zfkeras.data.sources import from_arrays
    >>> source = from_arrays(np.zeros((3, 9, 8, 3)), np.zeros(3, int), ["a"])
    >>> [tuple(images.shape) for images, _ in evaluation_batches(source, (4, 5), 2)]
    [(2, 4, 5, 3), (1, 4, 5, 3)]
    """
    if ten_crop and source.fit != "crop":
        raise ValueError(
            "Ten crops are cut from pictures that cover them. Expected a source with fit='crop'. "
            f"Received: fit={source.fit!r}"
        )

    def example(*key: Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture, label = source.fetch(*key)
        if ten_crop:
            large = preprocess.evaluation_picture(picture, image_size, scale)
            crops = preprocess.ten_crop(large, image_size)
        else:
            crops = preprocess.fitted(picture, image_size, source.fit, scale)
        return preprocess.in_channels(crops, channels), label

    return parallel(source.keys, example).batch(batch_size).prefetch(1).with_options(options())

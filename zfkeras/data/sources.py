"""Where labelled pictures come from: arrays, TFDS, and (in `folders`) files.

A `Source` is light: its keys (file names, positions, encoded bytes) are what gets shuffled, and
only then are they read and decoded.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from zfkeras.data.decode import pixels
from zfkeras.fitting import check_fit
from zfkeras.types import Tensor


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Labelled pictures.

    Attributes:
        keys: data set of whatever `fetch` takes; cheap, in a fixed order.
        fetch: traceable function from a key to (picture, label): the picture is encoded bytes
            (string scalar) or an image uint8 (H, W, 3), the label an int64 scalar.
        class_names: the name of each label.
        cardinality: number of examples.
        name: where they come from.
        skipped: pictures that were left out because they can't be used.
        file: traceable function from a key to its file's name below `name`; None without files.
        fit: how pictures of another size are brought to that of a net, to test or to search it:
            "crop", "stretch" or "pad", as in `zfkeras.image.fit`.
    """

    keys: tf.data.Dataset
    fetch: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    class_names: tuple[str, ...]
    cardinality: int
    name: str
    skipped: tuple[Skipped, ...] = ()
    file: Callable[..., tf.Tensor] | None = None
    fit: str = "crop"

    def __post_init__(self) -> None:
        check_fit(self.fit)

    @property
    def examples(self) -> tf.data.Dataset:
        """The examples in order: (uint8 (H, W, 3), int64 ()) at the pictures' own sizes."""

        def decoded(*key: Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            picture, label = self.fetch(*key)
            return pixels(picture), label

        return parallel(self.keys, decoded).prefetch(1).with_options(options())

    @property
    def keys_hold_pictures(self) -> bool:
        """Whether going through the keys reads the encoded pictures, as it does with TFDS."""
        dtypes = {spec.dtype for spec in tf.nest.flatten(self.keys.element_spec)}
        return self.file is None and tf.string in dtypes

    def labels_and_files(self) -> Iterator[tuple[int, str]]:
        """The label and the file's name ("" without files) of each example.

        No picture is decoded, and none is read but with `keys_hold_pictures`.
        """

        def told(*key: Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            _, label = self.fetch(*key)
            return label, self.file(*key) if self.file else tf.constant("")

        for labels, files in self.keys.map(told).batch(1024).with_options(options()):
            names = (name.decode(errors="surrogateescape") for name in files.numpy())
            yield from zip(labels.numpy().tolist(), names, strict=True)


def options() -> tf.data.Options:
    """Deterministic, and without the autotuner.

    The autotuner's thread naps for ever longer times and everybody who ends an iteration waits
    for it to wake, so that short loops take up to twice as long.
    """
    chosen = tf.data.Options()
    chosen.autotune.enabled = False
    chosen.deterministic = True
    return chosen


def parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """`dataset.map(function)` on all cores, in order."""
    return dataset.map(function, num_parallel_calls=os.cpu_count() or 1, deterministic=True)


def from_arrays(
    images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], name: str = "arrays"
) -> Source:
    """Images in memory.

    Args:
        images: (N, H, W, 3) RGB 0..255, uint8 or float.
        labels: (N,) integers below `len(class_names)`.
        class_names: the name of each label.
        name: what to call them.

    Raises:
        ValueError: if the arrays do not fit together.

    >>> from_arrays(np.zeros((2, 5, 7, 3), np.uint8), np.array([0, 1]), ["a", "b"]).cardinality
    2
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "Images must be an array (N, H, W, 3) of RGB 0..255, or (N, H, W, 1) of grey. "
            f"Received: images.shape={images.shape}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Labels must be {len(images)} integers, one for each image. "
            f"Received: labels.shape={labels.shape}, labels.dtype={labels.dtype}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(
            f"Labels must be 0 to {len(class_names) - 1}, one for each class name. "
            f"Received: labels from {labels.min()} to {labels.max()}"
        )
    held, held_labels = tf.constant(images), tf.constant(labels, tf.int64)
    keys = tf.data.Dataset.range(len(images))
    return Source(keys, lambda i: (held[i], held_labels[i]), tuple(class_names), len(images), name)


def from_tfds(
    name: str,
    split: str,
    image: str = "image",
    label: str = "label",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    fit: str = "crop",
) -> Source:
    """A data set of TensorFlow Datasets, by name.

    Args:
        name: such as "imagenet2012" or "caltech101:3.*.*".
        split: such as "train" or "validation[:10%]".
        image: the feature that holds the picture.
        label: the feature that holds its class.
        data_dir: where data sets are kept; None for TFDS' own folder.
        download: whether TFDS may fetch and prepare the data set.
        fit: as in `Source`.

    Returns:
        Source of pictures that stay encoded until they are used.

    Raises:
        ValueError: if the data set is not there or lacks the features.
    """
    import tensorflow_datasets as tfds

    with _tfds_errors(name, split, data_dir):
        builder = tfds.builder(name, data_dir=data_dir)
    _check_features(builder, image, label)
    with _tfds_errors(name, split, data_dir):
        if download:
            builder.download_and_prepare()
        keys = builder.as_dataset(
            split=split,
            decoders={image: tfds.decode.SkipDecoding()},
            shuffle_files=False,
            # One file after another: the order is that of the files.
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        cardinality = builder.info.splits[split].num_examples
    names = tuple(builder.info.features[label].names)
    keys, name = keys.map(lambda e: (e[image], e[label])), f"tfds:{name}/{split}"
    return Source(keys, _as_is, names, cardinality, name, fit=fit)


@contextmanager
def _tfds_errors(name: str, split: str, data_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turns what TFDS says of a data set that is not there into one error."""
    try:
        yield
    except (AssertionError, LookupError, ValueError, ImportError) as error:
        raise ValueError(
            f"TFDS can't give this data set: {first_line(error)} Allowed are names and splits "
            f"that are prepared in its data_dir. Received: name={name!r}, split={split!r}, "
            f"data_dir={data_dir!r}"
        ) from error


def _as_is(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return picture, label


def _check_features(builder: Any, image: str, label: str) -> None:
    features = builder.info.features
    if not {image, label} <= set(features) or not hasattr(features[label], "names"):
        raise ValueError(
            "The TFDS data set lacks a feature with this name, or its label has no classes. "
            f"Allowed: {', '.join(features)}. Received: image={image!r}, label={label!r}"
        )


def hold_out(source: Source, every: int) -> tuple[Source, Source]:
    """Splits off every `every`-th example, for validation.

    Args:
        source: what to split.
        every: at least 2; 10 holds out a tenth.

    Returns:
        (the rest, the held out): the same on every call.

    >>> source = from_arrays(np.zeros((7, 1, 1, 3)), np.zeros(7, int), ["a"])
    >>> [part.cardinality for part in hold_out(source, 3)]
    [5, 2]
    """
    if every < 2 or every > source.cardinality:
        raise ValueError(
            f"Every n-th example can be held out, with n of 2 to {source.cardinality}. "
            f"Received: every={every}"
        )

    def part(held: bool) -> Source:
        numbered = source.keys.enumerate()
        keys = numbered.filter(lambda i, _: ((i + 1) % every == 0) == held).map(lambda _, key: key)
        count = source.cardinality // every
        count = count if held else source.cardinality - count
        return dataclasses.replace(source, keys=keys, cardinality=count)

    return part(False), part(True)


def first_line(error: Exception) -> str:
    """What an error says, in one line and without TensorFlow's wrapping.

    >>> first_line(ValueError("{{function_node f}} No. [Op:X] more"))
    'No.'
    """
    _, assertion, values = str(error).partition("Summarized data: ")
    if assertion:  # what the assertion was given, a line each, texts as b'…'
        return " ".join(re.sub("^b'(.*)'$", r"\1", value) for value in values.split("\n"))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[0].rsplit("}}", 1)[-1].split(" [Op:")[0].strip().strip("'")
    # Of an error of our own, in three parts, the first says what is wrong.
    line = line.removeprefix("ValueError: ").removeprefix("Cannot read an image: ")
    return line.split(". Expected")[0]

"""Any data set as a numbered row of images of one size, to be read in part, in order."""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from zfkeras.data import preprocess
from zfkeras.data.folders import class_directories, image_folder, loose_pictures
from zfkeras.data.inputs import CHANNELS
from zfkeras.data.sources import Skipped, Source, first_line, options, parallel
from zfkeras.fitting import TESTED
from zfkeras.types import Tensor

Size = tuple[int | None, ...]
Dataset: TypeAlias = "Stream | Source | tf.data.Dataset | str | os.PathLike[str] | ArrayLike"

_NONE = np.int64(-1)  # the label of an image without one


@dataclass(frozen=True)
class Batch:
    """Images in order, always `batch_size` of them, so that every batch is computed alike.

    Attributes:
        images: (B, H, W, C), in the data's own dtype; zeros after the last image.
        keys: (B,) int64: each image's number in the data set, -1 for padding.
        labels: (B,) int64, -1 where there is none.
        files: (B,) file names, "" where there is none.
    """

    images: tf.Tensor
    keys: np.ndarray
    labels: np.ndarray
    files: np.ndarray


@dataclass(frozen=True)
class Stream:
    """Images that have a number each: their key.

    Attributes:
        keys: what `read` takes, in a fixed order.
        read: traceable function from one of them to (image, label).
        file: traceable function from one of them to a file name, or "".
        cardinality: number of images, -1 if unknown.
        class_names: the name of each label, () if unknown.
        identity: tells data sets apart, wherever they lie.
        skips: whether an image that can't be read is left out, or an error.
        skipped: pictures that were left out when the data set was opened; they have no key.
    """

    keys: tf.data.Dataset
    read: Callable[..., tuple[tf.Tensor, tf.Tensor]]
    file: Callable[..., tf.Tensor]
    cardinality: int
    class_names: tuple[str, ...]
    identity: str
    skips: bool = False
    skipped: tuple[Skipped, ...] = ()

    def batches(self, batch_size: int, start: int = 0, stop: int = -1) -> Iterator[Batch]:
        """Reads the images with keys `start` to `stop` (exclusive; -1: to the end).

        Raises:
            ValueError: An image can't be read, and the data set does not skip such.
        """
        numbered = self.keys.enumerate().skip(start).take(stop - start if stop >= 0 else -1)
        images = parallel(numbered, self._numbered)
        images = images.ignore_errors() if self.skips else images
        padded = images.batch(batch_size).map(lambda *batch: _pad(batch, batch_size))
        last = start - 1
        try:
            for pixels, *rest in padded.prefetch(2).with_options(options()):
                keys, labels, files = (tensor.numpy() for tensor in rest)
                last = int(keys.max())
                yield Batch(pixels, keys, labels, files)
        except tf.errors.OpError as error:
            raise ValueError(
                f"An image after number {last} can't be read: {first_line(error)} Allowed are "
                "images of the model's size that decode; `dataset.ignore_errors()` leaves out "
                f"others. Received: dataset={self.identity}"
            ) from error

    def _numbered(self, number: tf.Tensor, key: Tensor) -> tuple[tf.Tensor, ...]:
        parts = key if isinstance(key, tuple) else (key,)
        image, label = self.read(*parts)
        return image, number, label, self.file(*parts)

    def pick(self, keys: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads single images again, as the model got them; no others are decoded.

        Args:
            keys: (n,) any order, repeated or not.

        Returns:
            images (n, H, W, C), labels (n,) int64, files (n,) str.

        Raises:
            ValueError: There is no image of such a key, or it can't be read.
        """
        wanted = np.unique(np.asarray(keys, np.int64))
        held = tf.constant(wanted)
        chosen = self.keys.enumerate().filter(lambda number, _: tf.reduce_any(held == number))
        chosen = chosen.take(len(wanted))  # does not read on after the last
        found = {}
        for image, number, label, file in parallel(chosen, self._numbered).with_options(options()):
            found[int(number)] = (image.numpy(), int(label), file.numpy().decode(errors="replace"))
        missing = [key for key in wanted.tolist() if key not in found]
        if missing:
            raise ValueError(
                f"The data set has no image {missing[0]}; allowed are 0 to {self.cardinality - 1}. "
                f"Received: keys={list(keys)}"
            )
        images, labels, files = zip(*(found[key] for key in np.asarray(keys).tolist()), strict=True)
        return np.stack(images), np.array(labels), np.array(files)

    def why_skipped(self, key: int) -> Skipped:
        """Names an image that can't be read, and says why."""
        _, entry = next(iter(self.keys.enumerate().skip(key).take(1)))
        parts = entry if isinstance(entry, tuple) else (entry,)
        name = self.file(*parts).numpy().decode(errors="replace") or f"image {key}"
        try:
            self.read(*parts)
            return Skipped(name, "it could not be read")
        except tf.errors.OpError as error:
            return Skipped(name, first_line(error))


def _pad(batch: tuple[tf.Tensor, ...], batch_size: int) -> tuple[tf.Tensor, ...]:
    images, keys, labels, files = batch
    missing = [[0, batch_size - tf.size(keys)]]
    shape = (batch_size, *images.shape[1:])
    images = tf.ensure_shape(tf.pad(images, missing + [[0, 0]] * 3), shape)
    keys, labels = (tf.pad(numbers, missing, constant_values=-1) for numbers in (keys, labels))
    return images, keys, labels, tf.pad(files, missing)


def _no_file(*_key: Tensor) -> tf.Tensor:
    return tf.constant("")


# === From whatever people have ===


def stream(dataset: Dataset, size: Size, scale: float = TESTED, progress: bool = False) -> Stream:
    """Numbers the images of a data set.

    Args:
        dataset: one of
            an array (N, H, W, C): the images as the model takes them;
            a `tf.data.Dataset` of images (H, W, C), of (image, label) or of (image, label, file
            name), batched or not, of the model's size;
            a `Source` (TFDS, generated), or the path of a folder of pictures: they are resized
            to cover `scale` times the model's input, and its centre is cut out. A folder holds
            one directory per class, or just pictures.
        size: (H, W, C) of the model's input; None where any will do.
        scale: as above.
        progress: whether to show a progress bar while a folder is checked for bad pictures.

    Raises:
        TypeError: `dataset` is something else.
        ValueError: It is empty or endless, or its images don't fit the model.

    Example:
        >>> row = stream(np.zeros((3, 5, 7, 3), np.uint8), (5, 7, 3))
        >>> [batch.keys.tolist() for batch in row.batches(2)]
        [[0, 1], [2, -1]]
    """
    if isinstance(dataset, Stream):
        return dataset
    if isinstance(dataset, str | os.PathLike):
        dataset = open_folder(dataset, progress=progress)
        _report_skipped(dataset)
    if isinstance(dataset, Source):
        found = _from_source(dataset, size, scale)
    elif isinstance(dataset, tf.data.Dataset):
        found = _from_dataset(dataset, size)
    elif hasattr(dataset, "shape") and hasattr(dataset, "__array__"):
        found = _from_array(np.asarray(dataset), size)
    else:
        raise TypeError(
            "`dataset` must be an array (N, H, W, C), a tf.data.Dataset, a zfkeras Source or the "
            f"path of a folder of pictures. Received: dataset of type {type(dataset).__name__}"
        )
    if found.cardinality == 0:
        raise ValueError(
            "The data set is empty; at least one image is needed. "
            f"Received: dataset={found.identity}"
        )
    return found


def open_folder(
    path: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
    fit: str = "crop",
) -> Source:
    """A folder of class directories, or of nothing but pictures, which then have no class.

    Args:
        path: the folder.
        cache: a JSON file to remember the check of its pictures in.
        progress: whether to show a progress bar while checking.
        fit: as in `Source`.

    Raises:
        ValueError: There is no folder, or no usable picture in it.
    """
    root = Path(path).resolve()
    if root.is_dir() and loose_pictures(root) and not class_directories(root)[0]:
        source = image_folder(root.parent, None, [root.name], True, cache, progress, fit)
        return dataclasses.replace(source, class_names=())
    return image_folder(path, cache=cache, progress=progress, fit=fit)


def _report_skipped(source: Source) -> None:
    if source.skipped:
        listed = "; ".join(f"{skip.name} ({skip.reason})" for skip in source.skipped[:10])
        more = ", …" if len(source.skipped) > 10 else ""
        warnings.warn(
            f"{len(source.skipped)} pictures can't be read and were skipped: {listed}{more}",
            stacklevel=4,
        )


def _from_source(source: Source, size: Size, scale: float) -> Stream:
    if None in size:
        raise ValueError(
            "Pictures are cut to the size of the model's input, which must be fixed. "
            f"Received: input size={size}"
        )
    height, width, channels = (int(length or 0) for length in size)
    height_width = height, width
    if channels not in CHANNELS:
        raise ValueError(
            "Pictures are in grey or colour. Expected a model of images with 1 or 3 channels, or "
            f"an array or tf.data.Dataset of its images. Received: input size={size}"
        )

    def read(*key: Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture, label = source.fetch(*key)
        image = preprocess.fitted(picture, height_width, source.fit, scale)
        image = preprocess.in_channels(image, channels)
        return image, label if source.class_names else _NONE

    identity = _files_digest(source) if source.file else source.name
    return Stream(
        source.keys,
        read,
        source.file or _no_file,
        source.cardinality,
        source.class_names,
        f"{identity}, scale {scale:.6g}" if source.fit == "crop" else f"{identity}, {source.fit}",
        skips=True,
        skipped=source.skipped,
    )


def _files_digest(source: Source) -> str:
    """A digest of the file names: the same wherever the folder lies."""
    digest = hashlib.sha256()
    for _, file in source.labels_and_files():
        digest.update(f"{file}\n".encode(errors="surrogateescape"))
    return f"files {digest.hexdigest()[:16]}"


def _from_array(images: np.ndarray, size: Size) -> Stream:
    _check_shape(images.shape[1:], size, images.shape)
    if not (np.issubdtype(images.dtype, np.number) and np.isrealobj(images)):
        raise TypeError(f"Images must be numbers. Received: images of dtype {images.dtype}")
    held = tf.constant(images)
    digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()[:16]

    keys = tf.data.Dataset.range(len(images))
    identity = f"array {images.shape} {digest}"
    return Stream(keys, lambda key: (held[key], _NONE), _no_file, len(images), (), identity)


def _from_dataset(dataset: tf.data.Dataset, size: Size) -> Stream:
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    ranks = [part.shape.rank if isinstance(part, tf.TensorSpec) else None for part in parts]
    if not 1 <= len(parts) <= 3 or ranks[0] not in (3, 4):
        raise ValueError(
            "The data set's elements must be images (H, W, C), or (image, label) or (image, "
            f"label, file name), batched or not. Received: dataset.element_spec={spec}"
        )
    if ranks[0] == 4:
        dataset = dataset.unbatch()
        parts = tuple(tf.TensorSpec(part.shape[1:], part.dtype) for part in parts)
    _check_shape(parts[0].shape, size, parts[0].shape)
    if len(parts) > 1 and not (parts[1].dtype.is_integer and parts[1].shape.rank == 0):
        raise ValueError(
            "Labels must be integers, one for each image; dataset.map(lambda image, label: image) "
            f"does without. Received: dataset.element_spec={spec}"
        )
    cardinality = int(dataset.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "The data set has no end; `dataset.take(n)` gives it one. "
            f"Received: dataset.cardinality()={cardinality}"
        )

    def read(*element: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        label = tf.cast(element[1], tf.int64) if len(element) > 1 else _NONE
        return tf.ensure_shape(element[0], size), label

    file = (lambda *element: element[2]) if len(parts) > 2 else _no_file
    known = cardinality if cardinality >= 0 else -1
    return Stream(dataset, read, file, known, (), f"tf.data.Dataset of {known} images")


def _check_shape(shape: Sequence[int | None], size: Size, received: Any) -> None:
    dimensions = tuple(shape)
    fits = len(dimensions) == 3 and all(
        None in (mine, wanted) or mine == wanted
        for mine, wanted in zip(dimensions, size, strict=True)
    )
    if not fits:
        raise ValueError(
            f"The images must fit the model's input, (H, W, C) = {tuple(size)}. "
            f"Received: images of shape {tuple(received)}"
        )

"""Where labelled pictures come from: folders, TFDS, arrays. And how they become batches.

A `Source` is light: its keys (file names, positions, encoded bytes) are shuffled, and only then
read, decoded and augmented. All randomness derives from (seed, epoch, position in the epoch), so
that a training that is killed and resumed sees exactly what it would have seen.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from zfkeras.data import preprocess

EXTENSIONS = (".jpg", ".jpeg", ".png")
_SHUFFLE_BUFFER = 50_000  # keys; a folder or array up to that size is shuffled perfectly


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
    """

    keys: tf.data.Dataset
    fetch: Callable[[Any], tuple[tf.Tensor, tf.Tensor]]
    class_names: tuple[str, ...]
    cardinality: int
    name: str
    skipped: tuple[Skipped, ...] = ()

    @property
    def examples(self) -> tf.data.Dataset:
        """The examples in order: (uint8 (H, W, 3), int64 ()) at the pictures' own sizes."""

        def decoded(*key: Any) -> tuple[tf.Tensor, tf.Tensor]:
            picture, label = self.fetch(*key)
            return (preprocess.decode(picture) if picture.dtype == tf.string else picture), label

        return parallel(self.keys, decoded).prefetch(1).with_options(options())


def options() -> tf.data.Options:
    """Deterministic, and without the autotuner.

    The autotuner's thread naps for ever longer times and everybody who ends an iteration waits
    for it to wake, so that short loops take up to twice as long.
    """
    chosen = tf.data.Options()
    chosen.autotune.enabled = False
    chosen.deterministic = True
    return chosen


def parallel(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """`dataset.map(function)` on all cores, in order."""
    return dataset.map(function, num_parallel_calls=os.cpu_count() or 1, deterministic=True)


# === Sources ===


def image_folder(
    path: str | os.PathLike,
    members: Iterable[str] | None = None,
    class_names: Sequence[str] | None = None,
    check: bool = True,
    cache: str | os.PathLike | None = None,
    progress: bool = False,
) -> Source:
    """JPEG and PNG pictures in a folder; its directories are the classes.

    Args:
        path: a folder CLASS/…/PICTURE.
        members: names relative to `path` to use, or None for all pictures below it.
        class_names: the directories to use as classes, in the order of their labels; None for
            all of them, sorted. Give a model's to evaluate it on a folder with fewer classes.
        check: whether to decode every picture once, so that bad ones are left out (and listed
            in `skipped`) now and do not end a training days later.
        cache: a JSON file to remember the check in; unchanged files are not checked again.
        progress: whether to show a progress bar while checking.

    Returns:
        Source of pictures, in the order of their labels and names.

    Raises:
        ValueError: if there is no folder, class or usable picture.

    >>> image_folder("no/such/folder")
    Traceback (most recent call last):
    ValueError: There is no such folder of pictures. ... Received: path='no/such/folder'
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(
            "There is no such folder of pictures. Needed is a folder with one directory per "
            f"class. Received: path='{root}'"
        )
    names = tuple(class_names) if class_names is not None else _class_directories(root)
    files = _pictures(root, members, names)
    skipped = _check(root, files, cache, progress) if check else ()
    bad = {skip.name for skip in skipped}
    files = [file for file in files if file not in bad]
    if not files:
        raise ValueError(
            f"The folder holds no usable picture ({len(skipped)} were skipped). Needed are files "
            f"CLASS/PICTURE with endings {', '.join(EXTENSIONS)}. Received: path='{root}'"
        )
    labels = [names.index(file.split("/")[0]) for file in files]
    paths = [str(root / file) for file in files]
    keys = tf.data.Dataset.from_tensor_slices((paths, np.asarray(labels, np.int64)))
    return Source(keys, _read, names, len(files), str(root), skipped)


def _read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.io.read_file(path), label


def _class_directories(root: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise ValueError(
            "The folder holds no directories, so there are no classes. Needed is one directory "
            f"of pictures per class. Received: path='{root}'"
        )
    return tuple(names)


def _pictures(root: Path, members: Iterable[str] | None, names: tuple[str, ...]) -> list[str]:
    """Names of the pictures, relative to `root` and with "/", sorted by class and name."""
    if members is not None:
        return sorted(_known(member, names) for member in members)
    found = []
    for name in names:
        paths = _walk(root / name) if (root / name).is_dir() else []
        found += sorted(path.relative_to(root).as_posix() for path in paths)
    return found


def _known(member: str, names: tuple[str, ...]) -> str:
    if member.split("/")[0] not in names:
        raise ValueError(
            "A member is in none of the classes' directories. Allowed are names CLASS/PICTURE "
            f"with classes {', '.join(names)}. Received: member={member!r}"
        )
    return member


def _walk(folder: Path) -> Iterable[Path]:
    def fail(error: OSError) -> None:
        # os.walk would pass over an unreadable directory without a word.
        raise ValueError(
            "A directory of pictures can't be read. Every directory below the folder must be "
            f"readable. Received: path='{error.filename}' ({error.strerror})"
        ) from error

    for directory, _, files in os.walk(folder, onerror=fail, followlinks=True):
        for file in files:
            if file.lower().endswith(EXTENSIONS) and not file.startswith("."):
                yield Path(directory) / file


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
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            "Images must be an array (N, H, W, 3) of RGB 0..255. "
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
) -> Source:
    """A data set of TensorFlow Datasets, by name.

    Args:
        name: such as "imagenet2012" or "caltech101:3.*.*".
        split: such as "train" or "validation[:10%]".
        image: the feature that holds the picture.
        label: the feature that holds its class.
        data_dir: where data sets are kept; None for TFDS' own folder.
        download: whether TFDS may fetch and prepare the data set.

    Returns:
        Source of pictures that stay encoded until they are used.

    Raises:
        ValueError: if the data set is not there or lacks the features.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        _check_features(builder, image, label)
        if download:
            builder.download_and_prepare()
        read = {image: tfds.decode.SkipDecoding()}
        config = tfds.ReadConfig(interleave_cycle_length=1, shuffle_seed=0)
        keys = builder.as_dataset(
            split=split, decoders=read, shuffle_files=False, read_config=config
        )
        cardinality = builder.info.splits[split].num_examples
    except (AssertionError, LookupError, tfds.core.DatasetNotFoundError) as error:
        raise ValueError(
            f"TFDS can't give this data set: {_first_line(error)} Allowed are names and splits "
            f"that are prepared in its data_dir. Received: name={name!r}, split={split!r}, "
            f"data_dir={data_dir!r}"
        ) from error
    names = tuple(builder.info.features[label].names)
    return Source(
        keys.map(lambda e: (e[image], e[label])), _as_is, names, cardinality, f"tfds:{name}/{split}"
    )


def _as_is(picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return picture, label


def _check_features(builder: Any, image: str, label: str) -> None:
    features = builder.info.features
    if image not in features or not hasattr(features.get(label), "names"):
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


# === Checking ===


def _check(
    root: Path, files: list[str], cache: str | os.PathLike | None, progress: bool
) -> tuple[Skipped, ...]:
    """Decodes every file that `cache` does not know; returns those that can't be decoded."""
    known = _load_cache(cache)
    stamps = {file: _stamp(root / file) for file in files}
    new = [file for file in files if known.get(file, [None])[0] != stamps[file]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = pool.map(lambda file: _reason(root / file), new)
        bar = tqdm(reasons, "checking pictures", len(new), unit="", disable=not (progress and new))
        known |= {file: [stamps[file], why] for file, why in zip(new, bar, strict=True)}
    if cache is not None and new:
        _write_atomically(Path(cache), json.dumps(known))
    return tuple(Skipped(file, known[file][1]) for file in files if known[file][1])


def _load_cache(cache: str | os.PathLike | None) -> dict[str, list]:
    if cache is None or not Path(cache).exists():
        return {}
    return json.loads(Path(cache).read_text())


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _reason(path: Path) -> str | None:
    """Why a picture can't be used, by trying; None if it can."""
    try:
        contents = path.read_bytes()
        if not contents:
            return "the file is empty"
        preprocess.decode(tf.constant(contents))
    except OSError as error:
        return str(error.strerror)
    except tf.errors.OpError as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    # TensorFlow wraps its messages in the name of the node: {{function_node …}} what happened.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rsplit("}}", 1)[-1].split(" [Op:")[0].strip().strip("'")


# === Batches ===


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

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.random.fold_in([seed, 0], epoch)
        buffer = min(source.cardinality, _SHUFFLE_BUFFER)
        shuffle_seed = tf.cast(epoch_seed[0], tf.int64)
        keys = source.keys.shuffle(buffer, shuffle_seed, reshuffle_each_iteration=False)

        def example(position: tf.Tensor, key: Any) -> tuple[tf.Tensor, tf.Tensor]:
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
    scale: float = 8 / 7,
    ten_crop: bool = False,
) -> tf.data.Dataset:
    """Batches of the whole source in order, cut as the papers test.

    Args:
        source: the examples.
        image_size: (height, width) of a crop.
        batch_size: examples a batch; the last may have fewer.
        scale: the picture is resized to cover `scale * image_size` before it is cropped.
        ten_crop: whether to cut ten crops of each picture instead of the central one.

    Returns:
        Data set of (float32 (batch, height, width, 3), int64 (batch,)), or with `ten_crop`
        (float32 (batch, 10, height, width, 3), int64 (batch,)).

    >>> source = from_arrays(np.zeros((3, 9, 8, 3)), np.zeros(3, int), ["a"])
    >>> [tuple(images.shape) for images, _ in evaluation_batches(source, (4, 5), 2)]
    [(2, 4, 5, 3), (1, 4, 5, 3)]
    """
    crop = preprocess.ten_crop if ten_crop else preprocess.centre_crop

    def example(*key: Any) -> tuple[tf.Tensor, tf.Tensor]:
        picture, label = source.fetch(*key)
        return crop(preprocess.evaluation_picture(picture, image_size, scale), image_size), label

    return parallel(source.keys, example).batch(batch_size).prefetch(1).with_options(options())

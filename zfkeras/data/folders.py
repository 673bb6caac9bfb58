"""Pictures in a folder whose directories are the classes; bad files are found before they hurt."""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from zfkeras.data.decode import decode, portable
from zfkeras.data.sources import Skipped, Source, first_line
from zfkeras.data.walk import files_below, hidden
from zfkeras.files import write_atomically
from zfkeras.reading import EXTENSIONS


def image_folder(
    path: str | os.PathLike,
    members: Iterable[str] | None = None,
    class_names: Sequence[str] | None = None,
    check: bool = True,
    cache: str | os.PathLike | None = None,
    progress: bool = False,
    fit: str = "crop",
) -> Source:
    """Pictures in a folder; its directories are the classes.

    Args:
        path: a folder CLASS/…/PICTURE.
        members: names relative to `path` to use, or None for all pictures below it.
        class_names: the directories to use as classes, in the order of their labels; None for
            all of them, sorted. Give a model's to evaluate it on a folder with fewer classes.
        check: whether to decode every picture once, so that bad ones are left out (and listed
            in `skipped`) now and do not end a training days later.
        cache: a JSON file to remember the check in; unchanged files are not checked again.
        progress: whether to show a progress bar while checking.
        fit: as in `Source`.

    Returns:
        Source of pictures, in the order of their labels and names.

    Raises:
        ValueError: if there is no folder, class or usable picture.

    >>> image_folder("no/such/folder")
    Traceback (most recent call last):
    ValueError: There is no such folder of pictures. ... Received: path='no/such/folder'
    """
    root, is_whole = Path(path), class_names is None and members is None
    if not root.is_dir():
        raise ValueError(
            "There is no such folder of pictures. Needed is a folder with one directory per "
            f"class. Received: path='{root}'"
        )
    names = tuple(class_names) if class_names is not None else _directories(root)
    files = _pictures(root, members, names)
    skipped = _check(root, files, cache, progress) if check else ()
    bad = {skip.name for skip in skipped}
    files = [file for file in files if file not in bad]
    if not files:
        raise ValueError(
            f"The folder holds no usable picture ({len(skipped)} were skipped). Needed are files "
            f"CLASS/PICTURE with endings {', '.join(EXTENSIONS)}. Received: path='{root}'"
        )
    if is_whole:
        used = {file.split("/")[0] for file in files}
        skipped += tuple(_no_class(name) for name in names if name not in used)
        why = "it is in no class's directory"
        skipped += tuple(Skipped(name, why) for name in loose_pictures(root))
        names = tuple(name for name in names if name in used)
    labels = [names.index(file.split("/")[0]) for file in files]
    paths = [os.fsencode(root / file) for file in files]
    keys = tf.data.Dataset.from_tensor_slices((paths, np.asarray(labels, np.int64)))
    above = len(os.fsencode(root / "_")) - 1

    def file(path: tf.Tensor, _label: tf.Tensor) -> tf.Tensor:
        return tf.strings.substr(path, above, -1)

    return Source(keys, _read, names, len(files), str(root), skipped, file, fit)


def _read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.io.read_file(path), label


def class_directories(root: Path) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """The directories of a folder that hold pictures, and those that hold none."""
    names = _directories(root)
    full = tuple(name for name in names if next(files_below(root / name, EXTENSIONS), None))
    return full, tuple(_no_class(name) for name in names if name not in full)


def _directories(root: Path) -> tuple[str, ...]:
    """The directories of a folder, but for hidden ones, sorted."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    names = [name for name in names if not hidden(name)]
    if not names and not loose_pictures(root):
        raise ValueError(
            "The folder holds no directories, so there are no classes. Needed is one directory "
            f"of pictures per class. Received: path='{root}'"
        )
    return tuple(names)


def loose_pictures(root: Path) -> list[str]:
    """The pictures that lie in a folder itself, not in a directory of it."""
    files = (entry for entry in root.iterdir() if entry.is_file() and not hidden(entry.name))
    return sorted(entry.name for entry in files if entry.suffix.lower() in EXTENSIONS)


def _no_class(directory: str) -> Skipped:
    return Skipped(directory, "it holds no picture, and is no class")


def _pictures(root: Path, members: Iterable[str] | None, names: tuple[str, ...]) -> list[str]:
    """Names of the pictures, relative to `root` and with "/", sorted by class and name."""
    if members is not None:
        return sorted(_known(member, names) for member in members)
    found = []
    for name in names:
        paths = files_below(root / name, EXTENSIONS) if (root / name).is_dir() else []
        found += sorted(path.relative_to(root).as_posix() for path in paths)
    return found


def _known(member: str, names: tuple[str, ...]) -> str:
    if member.split("/")[0] not in names:
        raise ValueError(
            "A member is in none of the classes' directories. Allowed are names CLASS/PICTURE "
            f"with classes {', '.join(names)}. Received: member={member!r}"
        )
    return member


# === Checking ===


def _check(
    root: Path, files: list[str], cache: str | os.PathLike | None, progress: bool
) -> tuple[Skipped, ...]:
    """Decodes every file that `cache` does not know; returns those that can't be decoded."""
    known = _load_cache(cache)
    paths = {file: str((root / file).absolute()) for file in files}
    stamps = {path: _stamp(path) for path in paths.values()}
    new = [path for path in stamps if known.get(path, [None])[0] != stamps[path]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = pool.map(_reason, new)
        bar = tqdm(reasons, "checking pictures", len(new), unit="", disable=not (progress and new))
        known |= {path: [stamps[path], why] for path, why in zip(new, bar, strict=True)}
    if cache is not None and new:
        write_atomically(Path(cache), json.dumps(known).encode())
    found = {file: known[path][1] for file, path in paths.items()}
    return tuple(Skipped(file, reason) for file, reason in found.items() if reason)


def _load_cache(cache: str | os.PathLike | None) -> dict[str, list]:
    if cache is None or not Path(cache).exists():
        return {}
    return json.loads(Path(cache).read_text())


def _stamp(path: str) -> list[int]:
    try:
        status = Path(path).stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _reason(path: str) -> str | None:
    """Why a picture can't be used, by trying; None if it can."""
    try:
        contents = Path(path).read_bytes()
        if not contents:
            return "the file is empty"
        decode(portable(tf.constant(contents)))
    except OSError as error:
        return str(error.strerror)
    except tf.errors.OpError as error:
        return first_line(error)
    return None

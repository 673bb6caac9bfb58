"""Writing versions that a server can pick up at any moment: staged, checked, renamed."""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

_STAGING = ".staging-"


def next_version(directory: Path) -> int:
    """One above the highest version there is, complete or not.

    A half-written version keeps its number, so that nothing is ever written into it.
    """
    names = [path.name for path in directory.iterdir()]
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    return max(numbers, default=0) + 1


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A directory beside the versions to write one in; it is gone after the ``with`` block.

    Its name is no number, so no server looks at it. Those of exporters that have died are removed.

    Raises:
        OSError: `directory` cannot be written.
    """
    try:
        staging, lock = _locked_staging(directory)
        _remove_abandoned(directory)
    except OSError as error:
        raise OSError(
            f"Cannot export: {error.strerror}. The directory must be writable, or its parent so "
            f"that it can be made. Received: directory={str(directory)!r}"
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


def _locked_staging(directory: Path) -> tuple[Path, int]:
    """A new directory, and its descriptor: it is locked for as long as this process lives."""
    while True:
        staging = directory / f"{_STAGING}{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        lock = _lock(staging)
        if lock is not None and staging.is_dir():
            return staging, lock
        # Another export took it for an abandoned one before it was locked.


def _remove_abandoned(directory: Path) -> None:
    for staging in directory.glob(f"{_STAGING}*"):
        lock = _lock(staging)
        if lock is not None:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


def _lock(staging: Path) -> int | None:
    """A descriptor of a directory that nobody else has locked; None: locked, or gone."""
    try:
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def publish(staging: Path, directory: Path) -> Path:
    """Gives a complete staged directory the next version number, in one step.

    Returns:
        The version's path.
    """
    _sync(staging)
    while True:
        version = directory / str(next_version(directory))
        try:
            staging.rename(version)
        except FileExistsError:  # another export was quicker
            continue
        except OSError:
            if not version.exists():
                raise
            continue
        _sync_directory(directory)
        return version


def _sync(path: Path) -> None:
    """Brings every file below `path` to the disk: after a power cut, a version is whole."""
    for parent, _, files in os.walk(path):
        for name in files:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_directory(Path(parent))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

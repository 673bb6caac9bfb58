"""Writing versions that a server can pick up at any moment: staged, checked, renamed."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def next_version(directory: Path) -> int:
    """One above the highest version there is, complete or not.

    A half-written version keeps its number, so that nothing is ever written into it.
    """
    numbers = [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]
    return max(numbers, default=0) + 1


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A directory beside the versions to write one in; it is gone after the ``with`` block.

    Its name is no number, so no server looks at it.

    Raises:
        OSError: `directory` cannot be written.
    """
    staging = directory / f".staging-{uuid.uuid4().hex}"
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        raise OSError(
            f"Cannot export: {error.strerror}. The directory must be writable, or its parent so "
            f"that it can be made. Received: directory={str(directory)!r}"
        ) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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

"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Writes bytes beside `path` and renames them into place, making folders on the way.

    What a killed process has left half written is written over by the next.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def file_name(name: str) -> str:
    """A name as part of a file name, another for each: what may not be in one is spelt out.

    Example:
        >>> file_name("backbone/conv:1"), file_name("backbone-conv1")
        ('backbone%2Fconv%3A1', 'backbone-conv1')
    """
    return "".join(x if x.isalnum() or x in "-_." else f"%{ord(x):02X}" for x in name)

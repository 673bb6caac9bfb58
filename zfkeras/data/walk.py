"""The files below a folder that a person would call its own: one walk for every command."""

import os
from collections.abc import Iterator
from pathlib import Path

# What macOS, Windows and archives leave behind; names with a dot in front are hidden anyway.
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is nobody's picture or class.

    >>> [hidden(name) for name in ("cat", "._cat.png", ".ipynb_checkpoints", "__MACOSX")]
    [False, True, True, True]
    """
    return name.startswith(".") or name in _LITTER


def files_below(folder: str | os.PathLike[str], endings: tuple[str, ...]) -> Iterator[Path]:
    """The files with one of the endings, in capitals or not, each directory in order.

    Links are followed, but every directory is entered once, and never one that holds the link.

    Raises:
        ValueError: A directory can't be read.
    """

    def fail(error: OSError) -> None:
        # os.walk would pass over an unreadable directory without a word.
        raise ValueError(
            "A directory of pictures can't be read. Every directory below the folder must be "
            f"readable. Received: path='{error.filename}' ({error.strerror})"
        ) from error

    entered = {os.path.realpath(folder)}
    for directory, directories, files in os.walk(folder, onerror=fail, followlinks=True):
        here = Path(os.path.realpath(directory))
        for name in sorted(directories):
            target = os.path.realpath(Path(directory, name))
            if hidden(name) or target in entered or Path(target) in here.parents:
                directories.remove(name)
            entered.add(target)
        directories.sort()
        for file in sorted(files):
            if file.lower().endswith(endings) and not hidden(file):
                yield Path(directory) / file

"""Names of classes: from files of labels, and for the directories of a folder."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zfkeras.data.sources import Source

_WNID = re.compile(r"(n\d{8})\s+(\S.*)")


@dataclass(frozen=True)
class Labels:
    """The classes of a net.

    Attributes:
        names: What each is called, in the order of the net's scores.
        wnids: WordNet's number of each, which ImageNet's folders are named by; "" without.
    """

    names: tuple[str, ...]
    wnids: tuple[str, ...]

    def number(self, directory: str) -> int | None:
        """The class that a directory is called after, by its name or by its number in WordNet."""
        for known in (self.names, self.wnids):
            if directory and directory in known:
                return known.index(directory)
        return None


def read_labels(file: str | os.PathLike[str]) -> Labels:
    """Reads a file with a class on each line, in the order of the net's scores.

    A line is a name, or WordNet's number and a name, such as ``n02085936 Maltese dog``. Blank lines
    at the end do not count.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "labels.txt")
        ...     _ = file.write_text("n02085936 Maltese dog\\nn02110958 pug\\n")
        ...     read_labels(file)
        Labels(names=('Maltese dog', 'pug'), wnids=('n02085936', 'n02110958'))
    """
    # "-sig": editors on Windows put a mark in front.
    lines = Path(file).read_text(encoding="utf-8-sig").rstrip().splitlines()
    found = [_WNID.fullmatch(line.strip()) for line in lines]
    if lines and all(found):
        return Labels(*zip(*((m[2], m[1]) for m in found if m), strict=True))
    return Labels(tuple(lines), ("",) * len(lines))


def directories_of(labels: Labels, directories: Iterable[str], path: str) -> tuple[str, ...]:
    """The directory of each class: of those there are, or where there is none, its name.

    Raises:
        ValueError: A directory is called after none of the classes.

    Example:
        >>> directories_of(Labels(("dog", "pug"), ("", "n02110958")), ["n02110958"], "photos")
        ('dog', 'n02110958')
    """
    directories = list(directories)
    _check_known(labels, directories, path)
    found = {labels.number(directory): directory for directory in directories}
    return tuple(found.get(number, name) for number, name in enumerate(labels.names))


def renamed_classes(source: Source, labels: Labels | None) -> Source:
    """A source whose classes are called by their names in a file of labels.

    Raises:
        ValueError: A class is none of the labels.
    """
    if labels is None or not source.class_names:
        return source
    _check_known(labels, source.class_names, source.name)
    numbers = [labels.number(name) or 0 for name in source.class_names]
    return replace(source, class_names=tuple(labels.names[number] for number in numbers))


def _check_known(labels: Labels, directories: Sequence[str], path: str) -> None:
    strange = [name for name in directories if labels.number(name) is None]
    if strange:
        known = [*labels.names, *(wnid for wnid in labels.wnids if wnid)]
        told = ", ".join(_with_a_guess(name, known) for name in strange[:5])
        raise ValueError(
            f"{len(strange)} of the {len(directories)} directories are called after no class: "
            f"{told}{', …' * (len(strange) > 5)}. Expected names among the labels: "
            f"{', '.join(labels.names[:8])}{', …' * (len(labels.names) > 8)}. "
            f"Received: path={path!r} with {', '.join(map(repr, list(directories)[:8]))}"
            f"{', …' * (len(directories) > 8)}"
        )


def _with_a_guess(name: str, known: Sequence[str]) -> str:
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"{name!r} (did you mean {lower[close[0]]!r}?)" if close else repr(name)

"""The ``--data`` option of several commands."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import keras

    from zfkeras.data.labels import Labels
    from zfkeras.data.sources import Source

DATA_HELP = "A folder CLASS/PICTURE, tfds:NAME/SPLIT, or generated:SPLIT (train or validation)."


def open_source(
    data: str,
    check: bool,
    cache: Path | None,
    image_size: int,
    progress: bool,
    labels: "Labels | None" = None,
    fit: str = "crop",
) -> "Source":
    """The pictures that `data` stands for."""
    from zfkeras.data.folders import class_directories, image_folder
    from zfkeras.data.generated import generated
    from zfkeras.data.labels import directories_of
    from zfkeras.data.sources import from_tfds

    kind, colon, rest = data.partition(":")
    if kind == "tfds" and colon:
        name, slash, split = rest.rpartition("/")
        if not slash:
            raise ValueError(f"TFDS data must be tfds:NAME/SPLIT. Received: {data!r}")
        return from_tfds(name, split, fit=fit)
    if kind == "generated":
        return replace(generated(rest or "train", image_size=image_size), fit=fit)
    if labels is None:
        return image_folder(data, None, None, check, cache, progress, fit)
    full, empty = class_directories(Path(data))
    directories = directories_of(labels, full, data)
    source = image_folder(data, None, directories, check, cache, progress, fit)
    return replace(source, class_names=labels.names, skipped=(*source.skipped, *empty))


def report_skipped(sources: "Iterable[Source]") -> None:
    """Names the pictures and directories that were left out, on stderr."""
    for source in sources:
        if source.skipped:
            typer.echo(f"Left out of {source.name}: {len(source.skipped)}", err=True)
        for skip in source.skipped:
            typer.echo(f"  {skip.name}: {skip.reason}", err=True)


def opened(
    data: str,
    output: Path,
    net: "keras.Model",
    progress: bool,
    fit: str = "crop",
    labels: Path | None = None,
) -> "Source":
    """What `--data` stands for; the check of a folder's pictures is kept in `output`.

    Its classes are called as a file of labels says.
    """
    from zfkeras.data.inputs import input_size
    from zfkeras.data.labels import read_labels, renamed_classes
    from zfkeras.data.stream import open_folder

    if data.startswith(("tfds:", "generated:")):
        source = open_source(data, True, None, input_size(net)[0], progress, fit=fit)
    else:
        source = open_folder(data, output / "checked.json", progress, fit)
    return renamed_classes(source, None if labels is None else read_labels(labels))


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Shows the library's own warnings like messages, without Python's line numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            typer.echo(f"zfkeras: {warning.message}", err=True)

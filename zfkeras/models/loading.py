"""A model by its name or file."""

from pathlib import Path

import keras

# Importing them registers our classes with Keras, which its loader needs.
from zfkeras import constraints, layers
from zfkeras.models.weights import BUNDLED, class_names
from zfkeras.models.zfnet import ZFNet
from zfkeras.training import optimizer

_REGISTERED = (constraints, layers, optimizer)


def load_model(source: str | Path) -> keras.Model:
    """Loads a bundled net by name, or a `.keras` file (yours or `zfkeras train`'s).

    Unlike `keras.models.load_model` it knows zfkeras' layers in a fresh process too.

    Args:
        source: A bundled net's name ("imagenette"), or the path of a `.keras` file.

    Returns:
        The model, compiled if it was saved so.

    Raises:
        ValueError: There is no such net or file, or the file is not a Keras model.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ZFNet(classes=3, input_shape=(48, 64, 3), width=0.05).save(f"{folder}/net.keras")
        ...     load_model(f"{folder}/net.keras").output.shape
        (None, 3)
    """
    if str(source) in BUNDLED:
        return ZFNet(weights=str(source))
    path = Path(source)
    if not path.is_file():
        raise ValueError(
            f"There is no such model; allowed are {sorted(BUNDLED)} and the path of a .keras "
            f"file. Received: {str(source)!r}"
        )
    try:
        return keras.models.load_model(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"Keras can't load this model ({str(error).splitlines()[0]}); allowed is a file that "
            f"`model.save` wrote with all its custom layers registered. Received: {str(source)!r}"
        ) from error


def load_class_names(source: str | Path, labels: Path | None = None) -> tuple[str, ...] | None:
    """The names of a model's classes, where they are known.

    Args:
        source: As in `load_model`.
        labels: A file with a name on each line; default: the bundled net's own, or labels.txt
            beside the file, which `zfkeras train` writes.

    Returns:
        The names, or None where nobody wrote them down. Blank lines at the end do not count.

    Raises:
        ValueError: There is no such file.

    Example:
        >>> load_class_names("somewhere/net.keras") is None
        True
    """
    if labels is None and str(source) in BUNDLED:
        return class_names(str(source))
    beside = Path(source).with_name("labels.txt")
    if labels is None and not beside.is_file():
        return None
    file = Path(labels or beside)
    if not file.is_file():
        raise ValueError(
            "There is no such file of labels. Allowed is a text file with the name of a class on "
            f"each line. Received: labels='{file}'"
        )
    # "-sig": editors on Windows put a mark in front.
    return tuple(file.read_text(encoding="utf-8-sig").rstrip().splitlines())

"""A model by its name or file."""

import re
from pathlib import Path

import keras

# Importing them registers our classes with Keras, which its loader needs.
from zfkeras import constraints, layers
from zfkeras.data.labels import Labels, read_labels
from zfkeras.models.files import BUNDLED, check_model_file
from zfkeras.models.weights import class_names
from zfkeras.models.zfnet import ZFNet
from zfkeras.training import optimizer

_REGISTERED = (constraints, layers, optimizer)


def load_model(source: str | Path) -> keras.Model:
    """Loads a bundled net by name, or a `.keras` file (yours or `zfkeras train`'s).

    Unlike `keras.models.load_model` it knows zfkeras' layers in a fresh process too.

    Args:
        source: A bundled net's name ("imagenette"), or the path of a `.keras` file.

    Returns:
        The model, compiled if it was saved so and its losses and metrics are known here.

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
    check_model_file(source)
    try:
        return _with_or_without_training(Path(source))
    except Exception as error:  # whatever a file, or a layer's own code, may bring about
        problem, expected = _explained(str(error))
        raise ValueError(
            f"Keras can't load this model: {problem}. Expected {expected}. "
            f"Received: {str(source)!r}"
        ) from error


def _with_or_without_training(path: Path) -> keras.Model:
    """A model compiled with a loss of the user's own can be looked at without it."""
    try:
        return keras.models.load_model(path)
    except Exception:  # whatever deserialising a stranger's objects may bring about
        return keras.models.load_model(path, compile=False)


def _explained(error: str) -> tuple[str, str]:
    """What is wrong with a model's file, in a line, and what to do about it."""
    unknown = re.search("Could not locate (class|function) '([^']*)'", error)
    if unknown:
        return (
            f"it was made with the {unknown[1]} '{unknown[2]}', which nobody has imported here",
            "the module that defines it to be imported first (--import MODULE or FILE.py on the "
            "command line)",
        )
    if "Lambda" in error and "deserializ" in error:
        return (
            "it holds the Python code of a Lambda layer, which Keras runs only if told to",
            "`keras.config.enable_unsafe_deserialization()` to be called first, for a file that "
            "you trust, or a layer of its own class in the Lambda's place",
        )
    if "accessible `.keras` zip file" in error or "no item named" in error:
        return "the file is damaged, or not one that Keras wrote", "a .keras file"
    first = (error.strip() or "for no reason it told").splitlines()[0].rstrip(".")
    return first[:200], "a file that `model.save` wrote, with all its own layers registered"


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
    found = load_labels(source, labels)
    return None if found is None else found.names


def load_labels(source: str | Path, labels: Path | None = None) -> Labels | None:
    """As `load_class_names`, with the numbers in WordNet where the file tells them."""
    if labels is None and str(source) in BUNDLED:
        names = class_names(str(source))
        return None if names is None else Labels(tuple(names), ("",) * len(names))
    beside = Path(source).with_name("labels.txt")
    if labels is None and not beside.is_file():
        return None
    file = Path(labels or beside)
    if not file.is_file():
        raise ValueError(
            "There is no such file of labels. Allowed is a text file with the name of a class on "
            f"each line. Received: labels='{file}'"
        )
    return read_labels(file)

"""Weight files: float16 arrays and a description of the net, without pickle.

A file is an `.npz` with one array a variable, named "layer/variable", and "metadata": a JSON
string that holds the net's architecture arguments, its class names and what it was made from.
"""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from zfkeras.models.architecture import Architecture
from zfkeras.models.files import BUNDLED
from zfkeras.types import Json


def save_weights(
    model: keras.Model,
    path: str | os.PathLike,
    architecture: Json,
    class_names: list[str] | tuple[str, ...],
    **notes: Any,
) -> None:
    """Writes a model's weights, trainable ones in float16.

    Args:
        model: the model.
        path: of the `.npz` file; replaced if it exists.
        architecture: {"model": "ZFNet", "width": 0.5, …}: the arguments that make the model.
        class_names: the name of each output.
        **notes: anything JSON can hold: data, command, seed, accuracy.

    Raises:
        ValueError: if a weight is not finite or too large for float16, or names do not fit.
    """
    if len(class_names) != model.output_shape[-1]:
        raise ValueError(
            f"Each of the model's {model.output_shape[-1]} outputs must have a name. "
            f"Received: class_names={class_names}"
        )
    arrays: Json = {variable.path: _small(variable) for variable in _stored(model)}
    description = {"architecture": architecture, "class_names": list(class_names), **notes}
    partial = Path(path).with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, metadata=np.array(json.dumps(description)), **arrays)
    partial.replace(path)


def load_weights(model: keras.Model, weights: str | os.PathLike) -> None:
    """Sets the weights of `model` from a file or a bundled net's name.

    Layers of the file that the model lacks are left out, so that a net without its top can be
    loaded too.

    Args:
        model: with layers named as in the file.
        weights: the path of a file that `save_weights` wrote, or "imagenette".

    Raises:
        ValueError: if there is no such file, or a variable is missing or has another shape. The
            model is then unchanged.
    """
    variables = _stored(model)
    with _open(weights) as stored:
        for variable in variables:
            _check(variable, stored, weights)
        for variable in variables:
            variable.assign(stored[variable.path].astype("float32"))


def built(
    architecture: Architecture,
    arguments: Json,
    weights: str | os.PathLike | None,
    **options: Any,
) -> keras.Model:
    """The Keras model of an architecture, with its weights if there are any.

    Args:
        architecture: at width 1.
        arguments: what `merged_arguments` made of the net's: "width", "fc_units", "input_shape"
            and "classes".
        weights: as in `load_weights`, or None.
        **options: the other arguments of `Architecture.build`.

    Returns:
        The model; loaded with weights, it has their `class_names`.
    """
    scaled = architecture.scaled(arguments["width"], arguments["fc_units"])
    shape, classes = tuple(arguments["input_shape"]), arguments["classes"]
    model = scaled.build(input_shape=shape, classes=classes, **options)
    if weights is not None:
        load_weights(model, weights)
        model.class_names = class_names(weights)
    return model


def metadata(weights: str | os.PathLike) -> Json:
    """What a weight file says of its net: "architecture", "class_names" and notes.

    Args:
        weights: as in `load_weights`.
    """
    with _open(weights) as stored:
        return json.loads(str(stored["metadata"]))


def class_names(weights: str | os.PathLike) -> tuple[str, ...]:
    """The names of a net's outputs.

    Args:
        weights: as in `load_weights`.
    """
    return tuple(metadata(weights)["class_names"])


STANDARD: Json = {
    "classes": 1000,
    "input_shape": (224, 224, 3),
    "width": 1.0,
    "fc_units": None,
}
"""What every net of the papers is, unless its weights or its caller say otherwise."""


def merged_arguments(
    model: str, weights: str | os.PathLike | None, given: Json, defaults: Json
) -> Json:
    """The arguments of a net: those given, else those its weights were made for, else defaults.

    Raises:
        ValueError: if the weights are of another kind of net than `model`.

    >>> merged_arguments("ZFNet", None, {"width": None, "classes": 3}, {"width": 1, "classes": 9})
    {'width': 1, 'classes': 3}
    """
    if weights is not None:
        architecture = metadata(weights)["architecture"]
        if architecture.get("model") != model:
            raise ValueError(
                f"The weights are of another net. Allowed are those of a {model}. "
                f"Received: weights={str(weights)!r}, of a {architecture.get('model')}"
            )
        defaults = defaults | architecture
    return {name: defaults[name] if value is None else value for name, value in given.items()}


def _stored(model: keras.Model) -> list[keras.Variable]:
    """The model's variables without those of random generators."""
    return [v for v in model.variables if not v.path.endswith("seed_generator_state")]


def _small(variable: keras.Variable) -> np.ndarray:
    """The values, in float16 if they are learned; a mean image keeps its precision."""
    values = keras.ops.convert_to_numpy(variable)
    if not variable.trainable:
        return values
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    if not np.isfinite(small).all():
        raise ValueError(
            "Weights must be finite and within float16's range of 65504. "
            f"Received: {variable.path} with values up to {np.abs(values).max()}"
        )
    return small


@contextmanager
def _open(weights: str | os.PathLike) -> Iterator[Any]:
    path = BUNDLED.get(str(weights), Path(weights))
    if not path.is_file():
        raise ValueError(
            f"There are no such weights. Allowed are {', '.join(map(repr, BUNDLED))} and the "
            f"path of a file. Received: weights={str(weights)!r}"
        )
    with path.open("rb") as file:
        yield _arrays(file, weights)


def _arrays(file: BinaryIO, weights: str | os.PathLike) -> Any:
    try:
        stored = np.load(file, allow_pickle=False)
        stored["metadata"]
    except (ValueError, OSError, EOFError, LookupError, zipfile.BadZipFile) as error:
        raise ValueError(
            "This is not a weight file. Needed is an .npz that `save_weights` wrote. "
            f"Received: weights={str(weights)!r}"
        ) from error
    return stored


def _check(variable: keras.Variable, stored: np.ndarray, weights: str | os.PathLike) -> None:
    if variable.path not in stored:
        raise ValueError(
            f"The weights lack {variable.path}. Allowed are nets made of the layers "
            f"{', '.join(sorted({name.split('/')[0] for name in stored} - {'metadata'}))}. "
            f"Received: weights={str(weights)!r}"
        )
    shape = stored[variable.path].shape
    if shape != tuple(variable.shape):
        raise ValueError(
            f"The model's {variable.path} has shape {tuple(variable.shape)}. Allowed is the "
            f"weights' {shape}: make the net with the arguments they were made with. "
            f"Received: weights={str(weights)!r}"
        )

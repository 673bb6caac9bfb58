"""What a training depends on: two runs of one fingerprint end alike."""

import dataclasses
import hashlib
import json

import keras

from zfkeras.data.sources import Source
from zfkeras.graph.walking import walk
from zfkeras.training.recipes import Recipe
from zfkeras.types import Json


def fingerprint(model: keras.Model, source: Source, recipe: Recipe, seed: int) -> Json:
    """What must be the same for a training to be the same, by names that an error can tell."""
    settings = dataclasses.asdict(recipe)
    if recipe.schedule == "plateau":
        del settings["epochs"]  # nothing before the last epoch depends on it: it may be extended
    if recipe.class_weight == "none":
        del settings["class_weight"]  # runs that were begun before there was one go on
    return {
        "recipe": settings,
        "seed": seed,
        "classes": list(source.class_names),
        "examples": source.cardinality,
        "files and labels": _examples(source),
        "parameters": model.count_params(),
        "architecture": architecture_digest(model),
        "connections": connections_digest(model),
        "input": list(model.input_shape[1:]),
    }


def _examples(source: Source) -> str:
    """A digest of the labels, and of the names of files where there are some; nothing is read.

    Where the pictures would have to be read, their name and version in TFDS tell as much.
    """
    if source.keys_hold_pictures:
        return source.name
    digest = hashlib.sha256()
    for label, file in source.labels_and_files():
        digest.update(f"{label} {file}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def architecture_digest(model: keras.Model) -> str:
    """A digest of layers, settings and shapes: not of names, which Keras counts up by itself.

    Example:
        >>> def net(strides):
        ...     conv = keras.layers.Conv2D(2, 3, strides)
        ...     return keras.Sequential([keras.Input((9, 8, 3)), conv])
        >>> architecture_digest(net(1)) == architecture_digest(net(1))
        True
        >>> architecture_digest(net(1)) == architecture_digest(net(2))
        False
    """
    described = json.dumps(
        [_described(layer) for layer in _layers(model)], default=lambda thing: type(thing).__name__
    )
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def connections_digest(model: keras.Model) -> str:
    """A digest of what is called on what; "" for a model with a `call` of its own."""
    try:
        graph = walk(model)
    except ValueError:
        return ""
    calls = [[step.inputs, step.outputs] for step in graph.steps]
    return hashlib.sha256(json.dumps(calls).encode()).hexdigest()[:16]


def _layers(model: keras.Model) -> list[keras.Layer]:
    """The layers of a model and of the models in it."""
    found: list[keras.Layer] = []
    for layer in model.layers:
        found += _layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _described(layer: keras.Layer) -> list:
    try:
        config = layer.get_config()
    except NotImplementedError:  # a layer of the user's that can't tell
        config = {}
    config = {key: value for key, value in config.items() if key not in ("name", "dtype")}
    shapes = [list(variable.shape) for variable in layer.variables]
    return [type(layer).__name__, _without_names(config), shapes]


def _without_names(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_names(each) for key, each in value.items() if key != "name"}
    return [_without_names(each) for each in value] if isinstance(value, list | tuple) else value

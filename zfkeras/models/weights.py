"""Weight files: float16 arrays and a description of the net, without pickle."""

from typing import Any

import keras


def merged_arguments(
    model: str, weights: str | None, given: dict[str, Any], defaults: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a net: those given, else those its weights were made for, else defaults."""
    if weights is not None:
        raise NotImplementedError(model)
    return {name: defaults[name] if value is None else value for name, value in given.items()}


def load_weights(model: keras.Model, weights: str) -> None:
    """Sets the weights of `model` from a file or a bundled net's name."""
    raise NotImplementedError(weights)

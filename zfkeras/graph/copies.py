"""Copies of a user's model to do with as one likes: flat, with weights of their own."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zfkeras.graph.heads import SIGMOID, SOFTMAX, head_of
from zfkeras.graph.kept import Kept
from zfkeras.graph.layer_kinds import op_name
from zfkeras.graph.walking import IMAGES, Step, walk
from zfkeras.types import Tensor
from zfkeras.validate import choice

ORDERS = ("cascading", "independent")


class FlatCopy:
    """A Functional copy of a model: no nested models, no shared weights, every layer called by us.

    Args:
        model: Functional or Sequential model, nested in any way; it is only read.
        logits: Whether to leave a softmax or sigmoids at the end out.
        output: Name of the output to keep, if the model has several.

    Attributes:
        model: The copy. Its layers are named by their paths, with "_" for "/" and ":".

    Raises:
        ValueError: The model can't be walked.

    Example:
        >>> flat = keras.layers.Flatten(name="flat")
        >>> inside = keras.Sequential([keras.Input((4, 4, 3)), flat], name="in")
        >>> head = keras.layers.Dense(2, activation="softmax", name="head")
        >>> copy = FlatCopy(keras.Sequential([inside, head]), logits=True).model
        >>> [layer.name for layer in copy.layers][-2:], copy.layers[-1].activation.__name__
        (['in_flat', 'head'], 'linear')
    """

    def __init__(self, model: keras.Model, logits: bool = False, output: str | None = None) -> None:
        graph = walk(model)
        target, head = graph.output(output), head_of(graph, output)
        squashing = head.steps if logits and head.kind in (SOFTMAX, SIGMOID) else ()
        self._made: dict[int, tuple[Any, Any]] = {}
        pixels = keras.Input(graph.image_shape, dtype=graph.dtype)
        values = {IMAGES: pixels}
        for step in graph.steps_to(target):
            is_alone = step in squashing and not getattr(step.operation, "weights", ())
            if is_alone or (squashing and op_name(step.operation) == "Clip"):  # to 0..1
                values[step.outputs[0]] = values[step.inputs[0]]
                continue
            fresh = dataclasses.replace(step, operation=self._fresh(step, step in squashing))
            outputs = keras.tree.flatten(fresh(*(values[i] for i in step.inputs)))
            values.update(zip(step.outputs, outputs, strict=True))
        outputs = values[target]
        if logits and len(outputs.shape) == 1:  # a number for each image, to be found as class 0
            outputs = keras.layers.Reshape((1,))(outputs)
        self.model = keras.Model(pixels, outputs, name=model.name)
        self.refresh()

    @classmethod
    def of(cls, model: keras.Model, logits: bool = False, output: str | None = None) -> "FlatCopy":
        """The kept one for these arguments, with the weights that the model has now.

        Of large models none is kept: it would hold as much memory again.
        """
        if sum(math.prod(weight.shape) for weight in model.weights) > _LARGE:
            return cls(model, logits, output)
        copy = _KEPT.get(model, (logits, output), lambda: cls(model, logits, output))
        copy.refresh()
        return copy

    def refresh(self) -> None:
        """Copies the weights of the original once more."""
        for original, copy in self._made.values():
            if getattr(original, "weights", ()):
                copy.set_weights(original.get_weights())

    def _fresh(self, step: Step, linear: bool) -> keras.Layer:
        """A new operation like the step's, the same one for each call of a shared layer."""
        original = step.operation
        if id(original) not in self._made:
            config = original.get_config() | {"name": copied_path(step.path).replace(":", "_")}
            if linear:
                config["activation"] = "linear"
            self._made[id(original)] = original, _remade(original, config)
        return self._made[id(original)][1]


_KEPT: Kept[FlatCopy] = Kept()
_LARGE = 2e7  # weights: 80 MB


def copied_path(path: str) -> str:
    """The path in a flat copy of a layer that has this one in the model.

    Example:
        >>> copied_path("backbone/conv:1")
        'backbone_conv:1'
    """
    return path.replace("/", "_")


def _remade(original: keras.Operation, config: dict[str, Any]) -> keras.Operation:
    """A new operation from a configuration; one that has none but no weights either is borrowed."""
    try:
        return type(original).from_config(config)
    except (ValueError, TypeError, NotImplementedError) as error:
        if getattr(original, "weights", ()):
            raise ValueError(
                "This layer can't be copied. A layer with weights needs a `get_config` that its "
                f"`from_config` can read. Received: layer '{original.name}' of type "
                f"{type(original).__name__} ({str(error).splitlines()[0]})"
            ) from error
        return _Borrowed(original, name=config["name"])


class _Borrowed(keras.layers.Layer):
    """Calls another layer, which gets no node by it: Lambdas, say, can't be made from configs."""

    def __init__(self, original: keras.Operation, name: str) -> None:
        super().__init__(name=name)
        self._original = [original]  # in a list, so that it keeps its place in its own model

    def call(self, *inputs: Tensor, **options: object) -> Tensor:
        return self._original[0](*inputs, **options)


def randomized(model: keras.Model, order: str, seed: int = 0) -> Iterator[str]:
    """Shuffles the weights of a model's layers from the top down, for sanity checks.

    Shuffling within each weight tensor keeps its mean and spread, so that signals keep their size.

    Args:
        model: A model of one's own, such as `FlatCopy`'s, which is changed; when the iteration
            ends it is as it was.
        order: "cascading" leaves layers shuffled as it goes down, "independent" mends each before
            it shuffles the next.
        seed: Of the shuffling.

    Yields:
        The name of each layer once it is shuffled.
    """
    choice("order", order, ORDERS)
    rng = np.random.default_rng(seed)
    saved = model.get_weights()
    try:
        for layer in reversed(learned_layers(model)):
            before = layer.get_weights()
            learned = {id(variable) for variable in learned_weights(layer)}
            for variable in (v for v in layer.weights if id(v) in learned):
                values = np.asarray(variable)
                variable.assign(rng.permutation(values.ravel()).reshape(values.shape))
            yield layer.name
            if order == "independent":
                layer.set_weights(before)
    finally:
        model.set_weights(saved)


def learned_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers that training changes, from the bottom up."""
    return [layer for layer in model.layers if learned_weights(layer)]


def learned_weights(layer: keras.Operation) -> list[Any]:
    """The weights that training would change, were the layer not frozen."""
    if not isinstance(layer, keras.Layer):
        return []
    frozen, layer.trainable = layer.trainable, True
    learned = list(layer.trainable_weights)
    layer.trainable = frozen
    return learned

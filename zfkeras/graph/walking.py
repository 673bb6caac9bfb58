"""The graph walk: any Functional or Sequential Keras model as a list of steps.

The model is read, never changed: no clone, no new nodes on its layers, no swapped activation.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zfkeras.types import Tensor

Values = dict[int, Tensor]
Shape = tuple[int | None, ...]
IMAGES = 0  # the value every walk starts from


@dataclass(frozen=True, eq=False)
class Step:
    """One call of one layer or functional operation.

    Attributes:
        operation: The user's own Keras layer, or an operation such as `keras.ops.relu`.
        path: Unique name: "conv", "conv:1" for a shared layer's second call, "backbone/conv"
            inside a nested model.
        inputs: Numbers of the values it reads, in the order of the call's arguments.
        outputs: Numbers of the values it makes.
        arguments: (args, kwargs) of the call, with `Slot` in the places of its inputs.
    """

    operation: keras.Operation
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: tuple[tuple, dict]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Calls the operation at inference, whatever `training` its graph was built with."""
        args, kwargs = keras.tree.map_structure(
            lambda leaf: inputs[leaf.index] if isinstance(leaf, Slot) else leaf, self.arguments
        )
        if isinstance(self.operation, keras.layers.Layer):
            kwargs = kwargs | {"training": False}
        return self.operation(*args, **kwargs)


@dataclass(frozen=True)
class Slot:
    """The place of an input among the arguments of a step's call."""

    index: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as steps in an order in which they can be run.

    Attributes:
        name: The model's name.
        dtype: Of its input; "float32" where that is integers, which have no gradient.
        shapes: Shape of each value as the model declares it; None where any size will do.
        steps: The steps.
        names: The value that each layer name stands for.
        ambiguous: Names that several layers have, with the paths that tell them apart.
        outputs: The values that the model returns, by name: its keys where it returns a dict,
            else the paths of the layers that make them.
    """

    name: str
    dtype: str
    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    names: Mapping[str, int]
    ambiguous: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, int]

    @property
    def image_shape(self) -> Shape:
        """(H, W, C) of the images the model takes; None where any size will do."""
        return self.shapes[IMAGES][1:]

    def output(self, name: str | None = None) -> int:
        """The value that the model returns; of several the one of this name.

        Raises:
            ValueError: The model has several outputs and none is named, or none of this name.
        """
        returned = set(self.outputs.values())
        layers = {name: value for name, value in self.names.items() if value in returned}
        return chosen_output(self.name, self.outputs, name, layers)

    def find(self, layer: str) -> int:
        """The value that is the output of `layer`.

        Raises:
            TypeError: `layer` is not a string.
            ValueError: There is no such layer, or several.
        """
        if not isinstance(layer, str):
            raise TypeError(
                "`layer` must be the name of a layer, a string such as 'conv5'. "
                f"Received: layer={layer!r}"
            )
        if layer in self.names:
            return self.names[layer]
        if layer in self.ambiguous:
            raise ValueError(
                f"Several layers of model '{self.name}' are called '{layer}'; name one by its "
                f"path: {', '.join(self.ambiguous[layer])}. Received: layer={layer!r}"
            )
        close = difflib.get_close_matches(layer, self.names, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"Model '{self.name}' has no layer of this name.{hint} Its layers are "
            f"{', '.join(self.names)}. Received: layer={layer!r}"
        )

    def steps_to(self, *values: int) -> tuple[Step, ...]:
        """The steps that compute some values, in order."""
        needed, kept = set(values), []
        for step in reversed(self.steps):
            if needed.intersection(step.outputs):
                needed.update(step.inputs)
                kept.append(step)
        return tuple(reversed(kept))

    def run(self, images: Tensor, steps: Sequence[Step] | None = None) -> Values:
        """Runs `steps` (all of them by default) on images; every value made, by number."""
        values = {IMAGES: images}
        for step in self.steps if steps is None else steps:
            made = step(*(values[i] for i in step.inputs))
            values.update(zip(step.outputs, keras.tree.flatten(made), strict=True))
        return values

    def shapes_for(
        self, image_size: tuple[int, int] | None = None, steps: Sequence[Step] | None = None
    ) -> dict[int, Shape]:
        """The shape of each value made by `steps` (all by default) for images of a size.

        It is found by tracing them: nothing is computed.

        Args:
            image_size: (H, W), for models that don't fix it.
            steps: The steps.
        """
        height, width, channels = self.image_shape
        size = image_size or (height, width)
        shapes: dict[int, Shape] = {}

        def note(images: Tensor) -> None:
            shapes.update({i: tuple(x.shape) for i, x in self.run(images, steps).items()})

        images = tf.TensorSpec((None, *size, channels), self.dtype)
        tf.function(note, autograph=False).get_concrete_function(images)
        return shapes


def chosen_output(
    model: str,
    outputs: Mapping[str, Any],
    name: str | None,
    others: Mapping[str, Any] | None = None,
) -> Any:
    """One of a model's outputs: the only one, or the one of this name, or of another of its names.

    Raises:
        ValueError: There are several and none is named, or none of this name.
    """
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    known = {**(others or {}), **outputs}
    if name not in known:
        problem = (
            "has several outputs, one must be chosen" if name is None else "has no such output"
        )
        raise ValueError(
            f"Model '{model}' {problem}. Expected the name of one: "
            f"{', '.join(map(repr, outputs))}. Received: output={name!r}"
        )
    return known[name]


def walk(model: keras.Model) -> Graph:
    """Flattens a model into steps, nested models included.

    Works for Functional and Sequential models, nested in any depth, with layers shared, with
    branches, with `keras.ops` in between, and reloaded from `.keras` files. A layer is named by
    its path, "backbone/block1_conv1", and by its plain name where no other layer has it; the
    second call of a shared layer is "conv:1", the third "conv:2".

    Args:
        model: A built Keras model with one image input (N, H, W, C).

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: The model (or one nested in it) has its own `call`, is not built, or does not
            take one batch of images.

    Example:
        >>> pixels = keras.Input((9, 8, 3))
        >>> maps = keras.layers.Conv2D(4, 3, name="conv")(pixels)
        >>> graph = walk(keras.Model(pixels, keras.ops.relu(maps)))
        >>> [step.path for step in graph.steps][0]
        'conv'
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Functional or Sequential keras.Model. "
            f"Received: model={model!r} of type {type(model).__name__}"
        )
    _check_walkable(model)
    walker = _Walker(_image_shape(model))
    outputs = walker.visit(model, [IMAGES], prefix="")
    names, ambiguous = _plain_names(walker.names)
    dtype = model.inputs[0].dtype
    return Graph(
        model.name,
        dtype if dtype.startswith("float") else "float32",
        tuple(walker.shapes),
        tuple(walker.steps),
        names,
        ambiguous,
        _named_outputs(model, outputs, walker.steps),
    )


class _Walker:
    """Collects steps and the names of their values."""

    def __init__(self, image_shape: tuple) -> None:
        self.steps: list[Step] = []
        self.names: dict[str, int] = {}
        self.taken: set[str] = set()
        self.shapes: list[tuple] = [image_shape]

    def visit(self, model: keras.Model, inputs: list[int], prefix: str) -> list[int]:
        """Adds the steps of a model whose inputs are the given values; returns its outputs."""
        _check_walkable(model)
        known = dict(zip(map(id, model.inputs), inputs, strict=True))
        for node in _nodes(model):
            values = [known[id(tensor)] for tensor in node.input_tensors]
            made = self.call(node, values, prefix)
            known.update(zip(map(id, node.outputs), made, strict=True))
        return [known[id(tensor)] for tensor in model.outputs]

    def call(self, node: Any, inputs: list[int], prefix: str) -> list[int]:
        """Adds one call of an operation, which may be a nested model."""
        operation = node.operation
        path = self.unused(prefix + operation.name)
        self.taken.add(path)
        if isinstance(operation, keras.Model):
            outputs = self.visit(operation, inputs, path + "/")
        else:
            _check_channels_last(operation)
            outputs = [len(self.shapes) + i for i in range(len(node.outputs))]
            self.shapes += [tuple(tensor.shape) for tensor in node.outputs]
            self.steps.append(Step(operation, path, tuple(inputs), tuple(outputs), _slotted(node)))
        if len(outputs) == 1:
            self.names[path] = outputs[0]
        return outputs

    def unused(self, path: str) -> str:
        """`path`, numbered from its second call on."""
        calls = (f"{path}:{n}" for n in itertools.count(1))
        return path if path not in self.taken else next(c for c in calls if c not in self.taken)


def _nodes(model: keras.Model) -> Iterator[Any]:
    """The calls of a Functional model in the order in which Keras itself runs them.

    Keras offers no public way to read a graph without cloning it, which would leave nodes on the
    user's layers; this attribute is what its own `Functional.call` and `clone_model` go by.
    """
    functional = getattr(model, "_functional", model)  # a Sequential keeps one inside
    for _, nodes in sorted(functional._nodes_by_depth.items(), reverse=True):
        yield from (node for node in nodes if not node.is_input)


def _slotted(node: Any) -> tuple[tuple, dict]:
    """A call's arguments, with a slot in place of each tensor."""
    count = itertools.count()

    def slot(leaf: Any) -> Any:
        return Slot(next(count)) if isinstance(leaf, keras.KerasTensor) else leaf

    return keras.tree.map_structure(slot, (node.arguments.args, node.arguments.kwargs))


def _check_walkable(model: keras.Model) -> None:
    if not type(model).call.__module__.startswith("keras."):
        raise ValueError(
            f"Model '{model.name}' has its own `call`, which can't be walked; allowed are "
            "Functional and Sequential models, and models nested in them. Build it as "
            "keras.Model(inputs, outputs), where its layers are called on a keras.Input. "
            f"Received: model={model!r}"
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"Model '{model.name}' has no input yet; give it a keras.Input((H, W, 3)) as its first "
            f"layer, or call it on images once. Received: model={model!r}"
        )


def _check_channels_last(operation: keras.Operation) -> None:
    if getattr(operation, "data_format", None) == "channels_first":
        raise ValueError(
            f"Layer '{operation.name}' keeps channels first; only data_format='channels_last', "
            "(N, H, W, C), is allowed. Received: data_format='channels_first'"
        )


def _image_shape(model: keras.Model) -> Shape:
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            f"Model '{model.name}' must take one batch of images, (N, H, W, C). "
            f"Received: inputs={shapes}"
        )
    return shapes[0]


def _named_outputs(model: keras.Model, values: list[int], steps: list[Step]) -> dict[str, int]:
    """The values that a model returns, by the keys of its dict or the paths of their layers."""
    makers = {value: step.path for step in steps for value in step.outputs}
    structure = getattr(model, "_functional", model).output
    keys = [key for key, _ in keras.tree.flatten_with_path(structure)]
    named: dict[str, int] = {}
    for key, value in zip(keys, values, strict=True):
        has_name = any(isinstance(part, str) for part in key)
        name = "/".join(map(str, key)) if has_name else makers.get(value, "images")
        if value not in named.values():
            named[name if name not in named else f"{name}:{len(named)}"] = value
    return named


def _plain_names(paths: dict[str, int]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Paths and, where only one path ends in it, plain names; and the names that several have."""
    ends: dict[str, list[str]] = {}
    for path in paths:
        ends.setdefault(path.rpartition("/")[2], []).append(path)
    unique = {end: paths[found[0]] for end, found in ends.items() if len(found) == 1}
    several = {end: tuple(found) for end, found in ends.items() if end not in unique | paths}
    return unique | paths, several

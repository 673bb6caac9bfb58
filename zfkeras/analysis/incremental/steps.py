"""A walked model as operations."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.layers import Shapes, Stage, flat_dense, stages
from zfkeras.analysis.incremental.operations import Affine, Operation, PointConvolution, Pointwise
from zfkeras.analysis.incremental.single_map import TapProducts, TapSum
from zfkeras.analysis.incremental.sliding import Convolution, DepthwiseConvolution
from zfkeras.graph.walking import Step
from zfkeras.types import Tensor


def operations(steps: Sequence[Step], shapes: Shapes, kept: Container[int]) -> list[Operation]:
    """The steps as operations; a convolution and its activation are two.

    Args:
        steps: Steps of a graph, in order.
        shapes: The declared shapes of its values, by number.
        kept: Values that must be made whether or not a step needs them.
    """
    made: list[Operation] = []
    for link in _links(steps, shapes, kept):
        inputs, macs, shape = link.inputs, link.macs, shapes[link.outputs[0]]
        for kind, function, settings in link.parts[:-1]:  # values that the graph has no number for
            output = len(shapes) + len(made)
            made.append(kind(function, inputs, output, shape, macs, **settings))
            inputs, macs = (output,), 0.0
        kind, function, settings = link.parts[-1]
        for n, output in enumerate(link.outputs):
            made.append(kind(_Nth(function, n), inputs, output, shapes[output], macs, **settings))
    return _folded(made, kept)


class Link(NamedTuple):
    """A step, or two that are better taken together.

    Attributes:
        inputs, outputs: Numbers of values.
        parts: The operations it consists of.
        macs: Its multiply-adds for each pixel of the output: it uses each kernel weight once.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parts: list[Stage]
    macs: float


def _links(steps: Sequence[Step], shapes: Shapes, kept: Container[int]) -> Iterator[Link]:
    """Inputs, outputs and stages of each step, or of two that are better taken together."""
    readers = Counter(i for step in steps for i in step.inputs)
    makers = {step.outputs[0]: step for step in steps if len(step.inputs) == 1}
    joined: dict[int, Link] = {}  # by the value in between
    for step in steps:
        between = step.inputs[0]
        if between in makers and readers[between] == 1 and between not in kept:
            inputs = makers[between].inputs
            parts = flat_dense(makers[between], step, shapes[inputs[0]])
            if parts:
                joined[between] = Link(inputs, step.outputs, parts, _kernel_weights(step))
    for step in steps:
        if step.outputs[0] not in joined:
            alone = Link(step.inputs, step.outputs, stages(step, shapes), _kernel_weights(step))
            yield joined.get(step.inputs[0], alone)


def _kernel_weights(step: Step) -> float:
    weights = getattr(step.operation, "weights", ())
    return float(sum(math.prod(w.shape) for w in weights if "kernel" in w.name))


@dataclasses.dataclass(frozen=True)
class _Nth:
    """The n-th result of a function."""

    function: Callable
    n: int

    def __call__(self, *inputs: Tensor) -> Tensor:
        return keras.tree.flatten(self.function(*inputs))[self.n]


def _folded(made: Sequence[Operation], kept: Container[int]) -> list[Operation]:
    """The operations, with the factors that follow a convolution taken into its kernel."""
    readers = Counter(i for operation in made for i in operation.inputs)
    by_output: dict[int, Operation] = {}
    for operation in made:
        source = by_output.get(operation.inputs[0])
        is_private = readers[operation.inputs[0]] == 1 and operation.inputs[0] not in kept
        if isinstance(source, _CONVOLUTIONS) and _has_factors(operation) and is_private:
            del by_output[source.output]
            operation = _scaled_convolution(source, operation)
        by_output[operation.output] = operation
    return list(by_output.values())


_CONVOLUTIONS = (Convolution, DepthwiseConvolution, PointConvolution)


def _has_factors(operation: Operation) -> bool:
    return isinstance(operation, Affine) and operation.shift is not None


def _scaled_convolution(convolution: Any, affine: Any) -> Operation:
    """Both in one, as far as changes go.

    Whole maps still take both layers in turn: the factors taken in round otherwise, and rounded
    otherwise the maps would differ from the model's own by more than they need to.
    """

    def kernel() -> Tensor:
        taps, scale = convolution.kernel(), affine.scale()
        depthwise = isinstance(convolution, DepthwiseConvolution)
        return taps * (tf.reshape(scale, taps.shape[2:]) if depthwise else scale)

    changed = {"kernel": kernel, "output": affine.output}
    if isinstance(convolution, Convolution):
        changed["bias"] = lambda: convolution.bias() * affine.scale() + affine.shift()
    return dataclasses.replace(
        convolution, function=lambda x: affine.function(convolution.function(x)), **changed
    )


# === A single map ===


def single_map(made: Sequence[Operation], channel: Tensor) -> list[Operation] | None:
    """The operations with the last one, a convolution, for one map only; None if it isn't one.

    An activation may follow the convolution.

    Args:
        made: Operations that only serve the last one's output.
        channel: The map, an integer tensor or variable.
    """
    count = 2 if isinstance(made[-1], Pointwise) and made[-1].by_channel else 1
    before, last, after = made[:-count], made[-count], list(made[len(made) - count + 1 :])
    if type(last) is not Convolution or last.groups > 1 or max(last.size) == 1:
        return None
    taps = last.size[0] * last.size[1]
    between = 1 + max(operation.output for operation in made)
    products = TapProducts(
        last.function, last.inputs, between, last.shape, float(taps), last.kernel, channel
    )
    fields = {f.name: getattr(last, f.name) for f in dataclasses.fields(last)}
    one_tap_each = np.eye(taps, dtype=np.float32).reshape(*last.size, taps, 1)
    fields |= {"inputs": (between,), "kernel": lambda: one_tap_each, "weight": float(taps)}
    sums = TapSum(**fields, channel=channel)
    return [*before, products, sums, *after]

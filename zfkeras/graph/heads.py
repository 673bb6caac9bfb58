"""What a net's outputs mean, told by how they are made; and what to make of them.

A softmax is taken only of two or more scores that a layer without activation makes. Whatever ends
in an activation stays as it is: probabilities after a softmax or sigmoids, else plain scores; so
does a single score, which may be a regression as well as a logit.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from zfkeras.graph.kinds import AFFINE_ROLES, Role
from zfkeras.graph.layer_kinds import kind_of, known_type, op_name
from zfkeras.graph.walking import Graph, Step, walk

LOGITS, SOFTMAX, SIGMOID, SCORES, UNKNOWN = "logits", "softmax", "sigmoid", "scores", "unknown"
READINGS = ("softmax", "sigmoid", "raw")


@dataclass(frozen=True)
class Head:
    """How an output is made.

    Attributes:
        kind: "logits" by a layer without activation, "softmax" or "sigmoid" by one that ends in
            these, "scores" by another activation, "unknown" by a layer that may do anything.
        steps: The steps that make it so. What follows them only moves or averages numbers.
    """

    kind: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What is made of an output: "softmax" or "sigmoid" taken of it, or nothing, "raw".

    Attributes:
        activation: One of these.
        score_name: What a score is called then: "probability", or "score".
    """

    activation: str
    score_name: str

    def __call__(self, scores: tf.Tensor) -> tf.Tensor:
        """Scores (..., classes) as they are to be read."""
        if self.activation == "raw":
            return scores
        return tf.nn.softmax(scores) if self.activation == "softmax" else tf.nn.sigmoid(scores)


def head_of(graph: Graph, output: str | None = None) -> Head:
    """How an output of a model is made.

    Example:
        >>> pixels = keras.Input((4, 5, 3))
        >>> scores = keras.layers.Dense(2, "sigmoid")(keras.layers.Flatten()(pixels))
        >>> model = keras.Model(pixels, keras.layers.Dropout(0.5)(scores))
        >>> head_of(walk(model)).kind
        'sigmoid'
    """
    makers = {value: step for step in graph.steps for value in step.outputs}
    heads: dict[int, Head] = {}

    def visit(value: int) -> Head:
        if value not in heads:
            step = makers.get(value)
            kind = UNKNOWN if step is None else made_by(step)
            if step is not None and kind is None:
                heads[value] = _after(step, _joined([visit(i) for i in step.inputs]))
            elif kind == SOFTMAX and step is not None and not _of_classes(step, graph):
                heads[value] = Head(UNKNOWN, (step,))
            else:
                heads[value] = Head(kind or UNKNOWN, () if step is None else (step,))
        return heads[value]

    return visit(graph.output(output))


def ends_in_softmax(model: keras.Model, output: str | None = None) -> bool:
    """Whether a model's outputs are probabilities of a softmax.

    Example:
        >>> flat = [keras.Input((2, 2, 3)), keras.layers.Flatten()]
        >>> ends_in_softmax(keras.Sequential([*flat, keras.layers.Dense(2, "softmax")]))
        True
    """
    return head_of(walk(model), output).kind == SOFTMAX


def reading(head: Head, classes: int | None, scores: bool | str = True) -> Reading:
    """What to make of an output.

    Args:
        head: How it is made.
        classes: How many scores it has; None: any number.
        scores: True: what the head means. "softmax", "sigmoid": probabilities by these, for an
            output of logits. "raw": the scores as they are.

    Raises:
        ValueError: It can't be told what the head means, or it is not what `scores` says.
    """
    activation = _usual(head, classes) if scores is True else scores
    if activation not in READINGS:
        raise ValueError(
            "It is not clear what to make of the model's scores. Expected scores=True (what its "
            "last layer means), 'softmax', 'sigmoid' or 'raw' (as they are). "
            f"Received: scores={scores!r}"
        )
    if activation == head.kind:  # it is one already
        activation = "raw"
    if activation != "raw" and head.kind in (SOFTMAX, SIGMOID):
        raise ValueError(
            f"The model's outputs are no logits: they end in a {head.kind}. Expected scores=True "
            f"or 'raw'. Received: scores={scores!r}"
        )
    if activation == "softmax" and classes == 1:
        raise ValueError(
            "A softmax of a single score is 1 for any image. Expected scores='sigmoid' for a "
            f"logit, or 'raw' for the score as it is. Received: scores={scores!r}"
        )
    is_probability = head.kind in (SOFTMAX, SIGMOID) or activation != "raw"
    return Reading(str(activation), "probability" if is_probability else "score")


def checked_scores(scores: bool | str, softmax: bool | None) -> bool | str:
    """`scores`, which may be said by the older `softmax` instead: True, or False for "raw"."""
    if softmax is None:
        return scores
    if scores is not True:
        raise ValueError(
            "What to make of the scores is said twice. Expected softmax=None with scores="
            f"{scores!r}. Received: softmax={softmax!r}"
        )
    return "softmax" if softmax else "raw"


def _usual(head: Head, classes: int | None) -> str:
    if head.kind == UNKNOWN:
        made_by = f" The last layer is '{head.steps[-1].path}', which may do anything." * bool(
            head.steps
        )
        raise ValueError(
            f"Cannot tell what the model's outputs mean.{made_by} Expected softmax=True or False, "
            "or scores='softmax' (logits of classes that exclude one another), 'sigmoid' (logits "
            "of others) or 'raw' (as they are). Received: scores=True"
        )
    return "softmax" if head.kind == LOGITS and classes != 1 else "raw"


# === How an operation changes what its inputs mean ===


def _joined(heads: list[Head]) -> Head:
    """Of several values, moved together or averaged."""
    kinds = {head.kind for head in heads}
    steps = tuple(dict.fromkeys(step for head in heads for step in head.steps))
    if len(kinds) == 1:
        return Head(kinds.pop(), steps)
    if UNKNOWN in kinds:
        return Head(UNKNOWN, steps)
    return Head(SIGMOID if kinds == {SOFTMAX, SIGMOID} else SCORES, steps)


def _after(step: Step, head: Head) -> Head:
    """What scores of a kind are after a step that leaves logits what they are.

    Probabilities stay such where they are moved, picked or averaged, not where they are scaled or
    summed; and logits that are cut off are none.
    """
    kind, name = kind_of(step), type(step.operation).__name__
    stays = kind.role in _STAYING or name in _STAYING_NAMES
    was_probability = head.kind in (SOFTMAX, SIGMOID)
    if (was_probability and not stays) or (head.kind == LOGITS and name == "Clip"):
        return Head(SCORES, head.steps)
    return head


def _of_classes(step: Step, graph: Graph) -> bool:
    """Whether a softmax is taken over the last axis, along which the classes are."""
    axis, rank = getattr(step.operation, "axis", -1), len(graph.shapes[step.outputs[0]])
    return axis in (-1, rank - 1, [-1], [rank - 1], (-1,), (rank - 1,), None)


def squashes(step: Step) -> bool:
    """Whether a step ends in a softmax or sigmoid, built in or all that it is."""
    return made_by(step) in (SOFTMAX, SIGMOID)


def made_by(step: Step) -> str | None:
    """What a step makes of any scores; None if it leaves them what they are."""
    operation, kind = step.operation, kind_of(step)
    name = op_name(operation)
    if name in _OPERATIONS:
        return _OPERATIONS[name]
    if known_type(operation, (keras.layers.Softmax,)):
        return SOFTMAX
    if known_type(operation, (keras.layers.Activation,)):
        return _FUNCTIONS.get(operation.activation, SCORES)
    if kind.linear is not None:
        return _kind_of_activation(operation.activation)
    if kind.role is Role.UNKNOWN:
        return SCORES if name else UNKNOWN
    return None if kind.role in _KEEPING else SCORES


def _kind_of_activation(activation: Any) -> str:
    """What scores are that a linear layer makes and an activation built into it ends."""
    if known_type(activation, (keras.layers.Softmax,)):
        return SOFTMAX
    return _FUNCTIONS.get(activation, SCORES) or LOGITS


_STAYING = {
    Role.NEUTRAL,
    Role.MOVE,
    Role.AVERAGE_POOL,
    Role.GLOBAL_AVERAGE,
    Role.MAX_POOL,
    Role.GLOBAL_MAX_POOL,
    Role.COMBINE,
}
# Logits stay such in all that is affine.
_KEEPING = AFFINE_ROLES | _STAYING | {Role.SHIFT}
_STAYING_NAMES = frozenset(
    "AdaptiveAveragePooling2D Average AveragePooling1D Cast Clip Concatenate ExpandDims Flatten "
    "Flip GetItem GlobalAveragePooling1D Identity Mean Moveaxis Permute Repeat RepeatVector "
    "Reshape Split Squeeze Swapaxes Transpose Unstack".split()
)

_FUNCTIONS: dict[Any, str | None] = {
    **dict.fromkeys((None, keras.activations.linear)),
    **dict.fromkeys((keras.activations.softmax, keras.ops.softmax, tf.nn.softmax), SOFTMAX),
    **dict.fromkeys((keras.activations.sigmoid, keras.ops.sigmoid, tf.nn.sigmoid), SIGMOID),
    **dict.fromkeys((keras.activations.hard_sigmoid, keras.ops.hard_sigmoid), SIGMOID),
    # Logarithms of probabilities are logits: their softmax gives the probabilities.
    **dict.fromkeys(
        (keras.activations.log_softmax, keras.ops.log_softmax, tf.nn.log_softmax), LOGITS
    ),
}

_OPERATIONS: dict[str, str | None] = {
    **dict.fromkeys("Conv Dot Einsum LogSoftmax Matmul Tensordot".split(), LOGITS),
    **dict.fromkeys(["HardSigmoid", "Sigmoid"], SIGMOID),
    "Softmax": SOFTMAX,
    "Clip": None,
}

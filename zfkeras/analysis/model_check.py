"""What the deconvnet will meet in a model, and what that means for its pictures."""

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from zfkeras.deconvnet.rules import Rules, has_logits, rules_for
from zfkeras.graph.heads import LOGITS, SIGMOID, SOFTMAX, UNKNOWN, Head, head_of, squashes
from zfkeras.graph.kinds import Role
from zfkeras.graph.layer_kinds import ceiling, is_quantised, kind_of, op_name
from zfkeras.graph.walking import Graph, Step, walk
from zfkeras.types import Json

PROBLEM, CAUTION, NOTE = LEVELS = ("problem", "caution", "note")


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        level: "problem" (something can't be projected), "caution" (pictures can mislead) or "note".
        what: What was found.
        layers: Where.
        consequence: What it means for the pictures, and what to do.
    """

    level: str
    what: str
    layers: tuple[str, ...]
    consequence: str


@dataclass(frozen=True)
class ModelCheck:
    """What `check_model` found; `str()` of it is the report.

    Attributes:
        model: The model's name.
        projectable: Layers with feature maps or units that can be projected.
        unreachable: Those that can't.
        findings: The most serious first.
    """

    model: str
    projectable: tuple[str, ...]
    unreachable: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return all(finding.level != PROBLEM for finding in self.findings)

    def to_dict(self) -> Json:
        """Everything as JSON would have it."""
        return dataclasses.asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        total = len(self.projectable) + len(self.unreachable)
        able = f"{self.model}: {len(self.projectable)} of {total} layers can be projected."
        return "\n".join([able, *map(_paragraph, self.findings)])


def _paragraph(finding: Finding) -> str:
    where = f" ({_some(finding.layers)})" if finding.layers else ""
    text = f"{finding.what}{where}. {finding.consequence}"
    return textwrap.fill(text, 96, initial_indent=f"{finding.level:8} ", subsequent_indent=" " * 9)


def _some(layers: Sequence[str], most: int = 6) -> str:
    more = [f"and {len(layers) - most} more"] if len(layers) > most else []
    return ", ".join([*layers[:most], *more])


def check_model(model: keras.Model, rules: Rules | None = None) -> ModelCheck:
    """Reports what the deconvnet will meet in a model, with consequences in plain words.

    Args:
        model: Any Keras model; it is only read.
        rules: Your own reverse rules, as for `DeconvNet`.

    Returns:
        The `ModelCheck`. A model that can't be walked gives one problem that says why.

    Raises:
        TypeError: `model` is no Keras model.

    Example:
        >>> pixels = keras.Input((12, 10, 3))
        >>> maps = keras.layers.Conv2D(4, 3, activation="gelu", name="conv1")(pixels)
        >>> pooled = keras.layers.MaxPooling2D(2, name="pool")(maps)
        >>> found = check_model(keras.Model(pixels, pooled))
        >>> found.ok, found.unreachable, found.findings[0].what
        (False, ('conv1', 'pool'), 'Layers without a reverse rule')
    """
    try:
        graph = walk(model)
    except ValueError as error:
        reason = Finding(PROBLEM, "The model can't be walked", (), str(error))
        return ModelCheck(getattr(model, "name", "model"), (), (), (reason,))
    barred = [step for step in graph.steps if not _has_rule(step, rules)]
    able, unable = _sorted_by_reach(graph, barred, rules or {})
    ends = {step for head in _heads(graph) for step in head.steps if squashes(step)}
    problems = [step for step in barred if step not in ends]
    findings = [finding for check in _CHECKS for finding in check(graph, problems)]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return ModelCheck(graph.name, able, unable, tuple(findings))


def _has_rule(step: Step, rules: Rules | None) -> bool:
    try:
        return bool(rules_for(step, "deconvnet", user=rules))
    except ValueError:
        return False


def _sorted_by_reach(
    graph: Graph, barred: list[Step], rules: Rules
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that can be projected, and those that can't: from a softmax's logits it can."""
    able: list[str] = []
    unable: list[str] = []
    for step in graph.steps:
        if len(graph.shapes[step.outputs[0]]) in (2, 4):
            *below, last = graph.steps_to(step.outputs[0])
            is_barred = any(s in barred for s in below)
            is_barred |= last in barred and not has_logits(last, rules)
            (unable if is_barred else able).append(step.path)
    return tuple(able), tuple(unable)


# === The checks: each yields what it finds ===


def _rules(_: Graph, barred: list[Step]) -> Iterator[Finding]:
    if barred:
        yield Finding(
            PROBLEM,
            "Layers without a reverse rule",
            tuple(f"{step.path}: {_kind(step)}" for step in barred),
            "No layer at or above them can be projected. The deconvnet is defined for affine "
            "layers, ReLU and max pooling; for other nonlinearities it has no meaning of its own. "
            "Give DeconvNet(rules=...) a rule, or use rule='gradient'. Occlusion works with all.",
        )


def _heads(graph: Graph) -> list[Head]:
    return [head_of(graph, output) for output in graph.outputs]


def _head(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    if len(graph.outputs) > 1:
        yield Finding(
            NOTE,
            "The model has several outputs",
            tuple(graph.outputs),
            "Analyses ask for the name of the one to watch: output='…', --output-name.",
        )
    for output, value in graph.outputs.items():
        head = head_of(graph, output)
        if head.kind in _HEADS and len(graph.shapes[value]) == 2:
            is_one_logit = head.kind == LOGITS and graph.shapes[value][-1] == 1
            level, what, consequence = _ONE_SCORE if is_one_logit else _HEADS[head.kind]
            yield Finding(level, what, tuple(step.path for step in head.steps), consequence)


_ONE_SCORE = (
    NOTE,
    "The model ends in one score",
    "It is taken as it is. If it is the logit of a probability, say so: scores='sigmoid', "
    "--sigmoid.",
)
_HEADS = {
    SOFTMAX: (
        NOTE,
        "The model ends in a softmax",
        "Its outputs are probabilities. Projections of a class start from the logit before it.",
    ),
    SIGMOID: (
        NOTE,
        "The model ends in a sigmoid",
        "Its classes do not exclude one another: analyses take each probability as it is, as "
        "softmax=False would. Projections of a class start from the logit before it.",
    ),
    LOGITS: (
        NOTE,
        "The model ends in scores",
        "They are taken for logits: analyses apply a softmax unless told softmax=False.",
    ),
    UNKNOWN: (
        CAUTION,
        "It is not known what the outputs mean",
        "Their layer may do anything. Give the analyses scores='softmax', 'sigmoid' or 'raw'.",
    ),
}


def _training(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    found = [step.path for step in graph.steps if step.arguments[1].get("training") is True]
    if found:
        yield Finding(
            CAUTION,
            "Layers that are told to be in training",
            tuple(found),
            "Here they work as at inference: scores and maps differ from the model's own.",
        )


def _max_pools(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    if not _where(graph, Role.MAX_POOL, Role.GLOBAL_MAX_POOL):
        yield Finding(
            CAUTION,
            "There is no max pooling",
            (),
            "Only switches tie a deconvnet picture to the image. Without them a unit's picture is "
            "the same for every image up to its strength and place: it shows the filters, not "
            "what the unit saw. Use rule='guided', or occlusion.",
        )


def _average_pools(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    found = _where(graph, Role.AVERAGE_POOL, Role.GLOBAL_AVERAGE)
    if found:
        yield Finding(
            NOTE,
            "Pools that average",
            found,
            "They keep no switches: the signal is spread evenly over the window, so pictures from "
            "above are softer and less tied to the image.",
        )


def _batch_norm(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    norms = {
        step.path: step.operation
        for step in graph.steps
        if isinstance(step.operation, keras.layers.BatchNormalization)
    }
    if norms:
        yield Finding(
            NOTE,
            "Batch normalisation",
            tuple(norms),
            "With its moving statistics it is a scale and a shift a channel; on the way down the "
            "scale stays and the shift goes, as biases do.",
        )
    flipped = {path: _negative_scales(norm) for path, norm in norms.items()}
    if any(flipped.values()):
        yield Finding(
            CAUTION,
            f"{_count(sum(flipped.values()), 'channel')} with a negative scale",
            tuple(path for path, count in flipped.items() if count),
            "The signal turns negative there, and of what comes next rectification keeps only what "
            "outweighs it: these channels show less in the pictures than they do in the net.",
        )


def _negative_scales(norm: keras.Layer) -> int:
    return int((np.asarray(norm.gamma) < 0).sum()) if norm.gamma is not None else 0


def _dead_filters(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    dead = {}
    for step in graph.steps:
        if isinstance(step.operation, keras.layers.Conv2D):
            kernel = np.asarray(step.operation.kernel)
            dead[step.path] = int((np.abs(kernel).max((0, 1, 2)) == 0).sum())
    if any(dead.values()):
        yield Finding(
            NOTE,
            f"{_count(sum(dead.values()), 'filter')} of zeros",
            tuple(path for path, count in dead.items() if count),
            "Such a filter's map is constant and its projection empty.",
        )


def _capped(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    found = tuple(step.path for step in graph.steps if ceiling(step.operation) is not None)
    if found:
        yield Finding(
            NOTE,
            "ReLUs with a ceiling",
            found,
            "On the way down they rectify like any ReLU; the ceiling itself has no counterpart.",
        )


def _skips(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    merges = (step for step in graph.steps if kind_of(step).role is Role.MERGE)
    found = tuple(step.path for step in merges if type(step.operation).__name__ == "Add")
    if found:
        yield Finding(
            NOTE,
            "Branches that are added",
            found,
            "The signal goes down every branch and adds up. Skip connections avoid the switches "
            "between, so pictures are less tied to the image than a plain chain's.",
        )


def _pixels(graph: Graph, _: list[Step]) -> Iterator[Finding]:
    if not any(_is_preprocessing(step) for step in graph.steps[:6]):
        yield Finding(
            CAUTION,
            "No preprocessing layer",
            (),
            "Images must come as the model was trained to see them, and occluders are painted in "
            "that range: a fill_value of 128 is only grey if pixels are 0..255. Better put the "
            "preprocessing into the model (Rescaling, Normalization, PixelMean).",
        )


def _is_preprocessing(step: Step) -> bool:
    """Whether a step scales or shifts pixels; so does a 1x1 convolution of as many channels."""
    kind, layer = kind_of(step), step.operation
    if kind.role is Role.CONVOLUTION:
        return layer.kernel_size == (1, 1) and layer.kernel.shape[2] == layer.kernel.shape[3]
    arithmetic = op_name(layer) in ("Add", "Divide", "Multiply", "Subtract", "TrueDivide")
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    return arithmetic or kind.role is Role.SHIFT or (kind.role is Role.SCALE and not is_norm)


def _where(graph: Graph, *roles: Role) -> tuple[str, ...]:
    """Paths of the steps of these roles."""
    return tuple(step.path for step in graph.steps if kind_of(step).role in roles)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _kind(step: Step) -> str:
    if is_quantised(step.operation):
        return f"weights in {step.operation.quantization_mode}"
    activation = getattr(step.operation, "activation", None)
    if activation is None:
        return type(step.operation).__name__
    return getattr(activation, "__name__", type(activation).__name__)


_CHECKS = (
    _rules, _training, _max_pools, _batch_norm, _pixels, _head,
    _average_pools, _skips, _capped, _dead_filters,
)  # fmt: skip

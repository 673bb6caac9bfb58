"""Which reverse rule goes with which kind of layer: the table that `DeconvNet` descends by.

A rule is a function ``rule(call, signal)`` of one call of a layer and the signal at its output; it
returns the signal at its input (a list of signals where the layer has several inputs). Those below
are ready to be registered for layers of your own, as in
``DeconvNet(model, rules={MyActivation: zfkeras.deconvnet.rules.rectify})``.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import keras

from zfkeras.deconvnet.reverse import (
    Call,
    OneChannel,
    Rule,
    adjoint,
    convolution_adjoint,
    gate,
    global_unpool,
    gradient,
    identity,
    linear_adjoint,
    overwrite,
    rectify,
    unpool,
)
from zfkeras.graph.heads import squashes
from zfkeras.graph.kinds import Kind, Role
from zfkeras.graph.layer_kinds import activation_kind, is_quantised, kind_of, op_name
from zfkeras.graph.walking import Step

__all__ = [
    "METHODS",
    "OVERLAPS",
    "Call",
    "OneChannel",
    "Rule",
    "Rules",
    "adjoint",
    "gate",
    "gradient",
    "identity",
    "rectify",
    "rules_for",
    "unpool",
]

RuleKey: TypeAlias = type | Callable | str
Rules: TypeAlias = Mapping[RuleKey, Rule | Callable]
"""{layer class, activation function, or the name of one or of an operation: rule}."""

METHODS = ("deconvnet", "guided", "gradient")
OVERLAPS = {"sum": unpool, "overwrite": overwrite}

_RELUS = {"deconvnet": (rectify,), "guided": (gate, rectify), "gradient": (gate,)}
_RULES = {
    Role.NEUTRAL: (identity,),
    Role.SHIFT: (identity,),
    Role.GLOBAL_MAX_POOL: (global_unpool,),
}


def rules_for(
    step: Step,
    method: str,
    overlap: str = "sum",
    user: Rules | None = None,
    from_logits: bool = False,
) -> tuple[Rule, ...]:
    """The rules that take a signal down through one step, in the order to apply them.

    Args:
        step: A call in the graph.
        method: "deconvnet", "guided" or "gradient": the rule of ReLUs and contrast normalisation.
        overlap: "sum" or "overwrite": how max pools' overlapping windows combine.
        user: The user's own rules, which go first; see `DeconvNet`.
        from_logits: Whether the signal starts before the layer's own activation.

    Raises:
        ValueError: There is no rule for this layer, or for its activation.
    """
    kind, function = kind_of(step), getattr(step.operation, "activation", None)
    own = _users_rule(_keys(step.operation), user or {})
    if own is not None:
        return (own,)
    if is_quantised(step.operation):
        raise _no_rule(step, method, "is quantized")
    if kind.linear is None:
        is_activation = isinstance(step.operation, keras.layers.Activation)
        own = _users_rule(_activation_keys(function), user or {}) if is_activation else None
        rules = (own,) if own else _rules_of(kind, method, overlap)
        what = function if is_activation else step.operation
        return _found(rules, step, method, f"is of type {described(what)}")
    down = convolution_adjoint if kind.role is Role.CONVOLUTION else linear_adjoint
    activation = activation_kind(function)
    if from_logits:
        return (down,)
    own = _users_rule(_activation_keys(function), user or {})
    rules = (own,) if own else _rules_of(activation, method, overlap)
    if rules == (identity,) and not own:
        return (down,)
    if rules == (gradient,) and not own:  # that of the whole layer: it knows no activation alone
        return rules
    what = f"has the activation {described(function)}"
    return (*_found(rules, step, method, what), down)


def _rules_of(kind: Kind, method: str, overlap: str) -> tuple[Rule, ...] | None:
    """The rules of a kind of layer without a built-in activation; None: there are none."""
    if kind.is_affine:
        return (adjoint,)
    if kind.role is Role.RELU:
        return _RELUS[method]
    if kind.role is Role.MAX_POOL:
        return (OVERLAPS[overlap],)
    if kind.role is Role.CONTRAST and method != "gradient":
        return (identity,)
    return _RULES.get(kind.role) or ((gradient,) if method == "gradient" else None)


def has_logits(step: Step, user: Rules) -> bool:
    """Whether a layer ends in a softmax or sigmoid, so that it is projected from its logits."""
    activation = getattr(step.operation, "activation", None)
    keys = (*_keys(step.operation), *_activation_keys(activation))
    return squashes(step) and _users_rule(keys, user) is None


# === The user's own rules ===


def check_rules(rules: Rules | None, steps: Iterable[Step]) -> None:
    """Raises unless `rules` are rules, and says which of them no step goes by.

    Raises:
        TypeError: It is no mapping to functions.
        ValueError: A name in it is that of no operation, layer or activation of the steps.
    """
    if not isinstance(rules or {}, Mapping) or not all(map(callable, (rules or {}).values())):
        raise TypeError(
            "`rules` must map layer classes, operation names or activation functions to functions "
            f"(call, signal) -> signal. Received: rules={rules!r}"
        )
    keys = [
        key
        for step in steps
        for key in (
            *_keys(step.operation),
            *_activation_keys(getattr(step.operation, "activation", None)),
        )
    ]
    for key in rules or {}:
        if not any(_matches(key, known) for known in keys):
            _say_unused(key, sorted({known for known in keys if isinstance(known, str)}))


def _say_unused(key: RuleKey, names: list[str]) -> None:
    if isinstance(key, str):
        close = difflib.get_close_matches(key, names, n=3)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"A rule is for nothing in this model.{hint} Allowed are its operations, layer types "
            f"and activations: {', '.join(names)}. Received: rules={{{key!r}: ...}}"
        )
    warnings.warn(
        f"No layer of this model goes by your reverse rule for {described(key)}.", stacklevel=4
    )


def _users_rule(keys: Iterable[RuleKey], user: Rules) -> Rule | None:
    """The user's rule for the first of some keys; names match whatever their case."""
    for key in keys if user else ():
        for given, rule in user.items():
            if _matches(given, key):
                return rule if isinstance(rule, Rule) else Rule(rule)
    return None


def _matches(given: RuleKey, key: RuleKey) -> bool:
    if isinstance(given, str) and isinstance(key, str):
        return _plain(given) == _plain(key)
    return given is key


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _keys(operation: keras.Operation) -> Iterator[RuleKey]:
    """What a rule for an operation may be registered by: its classes, then its name."""
    yield from type(operation).__mro__
    yield type(operation).__name__


def _activation_keys(function: Callable | None) -> Iterator[RuleKey]:
    """The same for an activation: the function, then its name."""
    if function is not None:
        yield function
        yield described(function)


# === Layers without a rule ===


def _found(rules: tuple[Rule, ...] | None, step: Step, method: str, what: str) -> tuple[Rule, ...]:
    if rules is None:
        raise _no_rule(step, method, what)
    return rules


def _no_rule(step: Step, method: str, what: str) -> ValueError:
    name = type(step.operation).__name__
    key = repr(name) if op_name(step.operation) else name
    advice = (
        "project from the layer before the softmax, whose values are the logits"
        if "softmax" in what.lower()
        else f"register your own: DeconvNet(model, rules={{{key}: my_rule}}), where "
        "zfkeras.deconvnet.rules has identity, rectify, adjoint and gradient ready, or use "
        "rule='gradient'"
    )
    who = "the deconvnet" if method == "deconvnet" else f"rule={method!r}"
    return ValueError(
        f"Layer '{step.path}' {what}, for which {who} has no reverse rule; allowed are "
        "affine layers, ReLU, max pooling, dropout and contrast normalisation. "
        f"You can {advice}. Received: layer={step.operation!r}"
    )


def described(thing: object) -> str:
    """The name of a layer's type, with the settings that matter, or of a function."""
    if isinstance(thing, keras.layers.ReLU):
        return f"ReLU with negative_slope={thing.negative_slope}"
    if isinstance(thing, str):
        return thing
    thing = thing.down if isinstance(thing, Rule) else thing
    return getattr(thing, "__name__", type(thing).__name__)

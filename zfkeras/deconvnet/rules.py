"""Which reverse rule goes with which layer: the table that `DeconvNet` descends by.

A rule is a function ``rule(call, signal)`` of one call of a layer and the signal at its output; it
returns the signal at its input (a list of signals where the layer has several inputs). Those below
are ready to be registered for layers of your own, as in
``DeconvNet(model, rules={MyActivation: zfkeras.deconvnet.rules.rectify})``.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from zfkeras import layers
from zfkeras.deconvnet.reverse import (
    LINEAR,
    Call,
    OneChannel,
    Rule,
    adjoint,
    convolution_adjoint,
    gate,
    global_unpool,
    gradient,
    identity,
    known_type,
    linear_adjoint,
    logits,
    op_name,
    overwrite,
    rectify,
    unpool,
)
from zfkeras.graph.walking import Slot, Step

__all__ = [
    "METHODS",
    "Call",
    "OneChannel",
    "Rule",
    "adjoint",
    "gate",
    "gradient",
    "identity",
    "logits",
    "rectify",
    "rules_for",
    "unpool",
]

METHODS = ("deconvnet", "guided", "gradient")

_AFFINE = (
    layers.PixelMean,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.CenterCrop,
    keras.layers.Concatenate,
    keras.layers.Cropping2D,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Normalization,
    keras.layers.Permute,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Resizing,
    keras.layers.Subtract,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
)
# What does nothing at inference.
_NEUTRAL = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.RandomBrightness,
    keras.layers.RandomContrast,
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.SpatialDropout2D,
)
_MAX_POOLS = (layers.MaxPoolWithArgmax2D, keras.layers.MaxPooling2D)
# Functional operations (`keras.ops.*`, operators on Keras tensors), whose classes aren't public.
_AFFINE_OPS = frozenset(
    "Add AveragePool Cast Concatenate DepthToSpace ExpandDims Flip GetItem Identity Mean "
    "Moveaxis Negative Pad Repeat Reshape Resize SpaceToDepth Split Squeeze Subtract Sum Swapaxes "
    "Transpose Unstack".split()
)
# Affine as long as only one of their operands comes from the image.
_BILINEAR_OPS = frozenset(
    "Conv ConvTranspose DepthwiseConv Einsum Matmul Multiply SeparableConv".split()
)
_RELUS = (
    keras.activations.relu,
    keras.activations.relu6,
    keras.ops.relu,
    keras.ops.relu6,
    tf.nn.relu,
    tf.nn.relu6,
)
_RELU_RULES = {"deconvnet": (rectify,), "guided": (gate, rectify), "gradient": (gate,)}


def rules_for(
    step: Step,
    method: str,
    overlap: str = "sum",
    user: Mapping[Any, Any] | None = None,
    from_logits: bool = False,
) -> tuple[Rule, ...]:
    """The rules that take a signal down through one step, in the order to apply them.

    Args:
        step: A call in the graph.
        method: "deconvnet", "guided" or "gradient": the rule of ReLUs and contrast normalisation.
        overlap: "sum" or "overwrite": how max pools' overlapping windows combine.
        user: The user's own rules, which go first: by layer class, by the name of a functional
            operation ("Gelu"), or by activation function.
        from_logits: Whether the signal starts before the layer's own activation.

    Raises:
        ValueError: There is no rule for this layer, or for its activation.
    """
    operation, user = step.operation, user or {}
    if (own := _users_rule(operation, user)) is not None:
        return (own,)
    if (kind := known_type(operation, LINEAR)) is not None:
        down = convolution_adjoint if kind is keras.layers.Conv2D else linear_adjoint
        return (down,) if from_logits else _fused(step, method, user, down)
    if known_type(operation, _AFFINE) or _is_affine_op(step):
        return (adjoint,)
    if known_type(operation, _NEUTRAL):
        return (identity,)
    if known_type(operation, _MAX_POOLS) or op_name(operation) == "MaxPool":
        return (unpool if overlap == "sum" else overwrite,)
    if known_type(operation, (keras.layers.GlobalMaxPooling2D,)):
        return (global_unpool,)
    if _is_relu(operation):
        return _RELU_RULES[method]
    if known_type(operation, (layers.LocalResponseNormalization,)):
        return (gradient if method == "gradient" else identity,)
    return _other(step, method, user)


def has_logits(step: Step, user: Mapping[Any, Any]) -> bool:
    """Whether a layer ends in a built-in softmax or sigmoid, to be projected from its logits."""
    activation = getattr(step.operation, "activation", None)
    squashes = activation in (keras.activations.softmax, keras.activations.sigmoid)
    known = known_type(step.operation, LINEAR) is not None
    return squashes and known and not {activation, type(step.operation)} & set(user)


def _fused(step: Step, method: str, user: Mapping[Any, Any], down: Rule) -> tuple[Rule, ...]:
    """Rules for a layer with an activation built in: the activation's, then the layer's own."""
    activation = step.operation.activation
    if getattr(step.operation, "quantization_mode", None):
        raise _no_rule(step, "is quantized")
    if activation in (None, keras.activations.linear):
        return (down,)
    if activation in user:
        return (_as_rule(user[activation]), down)
    if _is_relu_function(activation):
        return (*_RELU_RULES[method], down)
    if method == "gradient":
        return (gradient,)
    raise _no_rule(step, f"has the activation {_name_of(activation)}")


def _other(step: Step, method: str, user: Mapping[Any, Any]) -> tuple[Rule, ...]:
    """Rules for what is neither affine, nor a pool, nor a ReLU."""
    operation, kind = step.operation, type(step.operation).__name__
    if known_type(operation, (keras.layers.Activation,)):
        if operation.activation in user:
            return (_as_rule(user[operation.activation]),)
        if operation.activation is keras.activations.linear:
            return (identity,)
        kind = _name_of(operation.activation)
    if method == "gradient":
        return (gradient,)
    if known_type(operation, (keras.layers.ReLU,)):
        kind += f" with negative_slope={operation.negative_slope}"
    raise _no_rule(step, f"is of type {kind}")


def _no_rule(step: Step, what: str) -> ValueError:
    name = type(step.operation).__name__
    key = repr(name) if op_name(step.operation) else name
    advice = (
        "project from the layer before the softmax, whose values are the logits"
        if "softmax" in what.lower()
        else f"register your own: DeconvNet(model, rules={{{key}: my_rule}}), where "
        "zfkeras.deconvnet.reverse has identity, rectify, adjoint and gradient ready, or use "
        "rule='gradient'"
    )
    return ValueError(
        f"Layer '{step.path}' {what}, for which the deconvnet has no reverse rule; allowed are "
        "affine layers, ReLU, max pooling, dropout and contrast normalisation. "
        f"You can {advice}. Received: layer={step.operation!r}"
    )


def _users_rule(operation: Any, user: Mapping[Any, Any]) -> Rule | None:
    for key in (*type(operation).__mro__, op_name(operation)):
        if key in user:
            return _as_rule(user[key])
    return None


def _as_rule(rule: Any) -> Rule:
    return rule if isinstance(rule, Rule) else Rule(rule)


def _is_affine_op(step: Step) -> bool:
    name = op_name(step.operation)
    if name in ("TrueDivide", "Divide"):  # the image may be divided, but not divide
        return len(step.inputs) == 1 and isinstance(step.arguments[0][0], Slot)
    return name in _AFFINE_OPS or (name in _BILINEAR_OPS and len(step.inputs) == 1)


def _is_relu(operation: Any) -> bool:
    if known_type(operation, (keras.layers.Activation,)):
        return _is_relu_function(operation.activation)
    return op_name(operation) in ("Relu", "Relu6") or _is_relu_function(operation)


def _is_relu_function(activation: Any) -> bool:
    if known_type(activation, (keras.layers.ReLU,)):
        return activation.negative_slope == 0
    return any(activation is relu for relu in _RELUS)


def _name_of(activation: Any) -> str:
    return getattr(activation, "__name__", type(activation).__name__)

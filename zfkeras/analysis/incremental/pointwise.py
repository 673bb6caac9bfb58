"""Functions that are known to work on each pixel by itself."""

from collections.abc import Callable
from typing import Any

import keras

from zfkeras.analysis.incremental.operations import Operation, Pointwise

Stage = tuple[type[Operation], Callable, dict[str, Any]]
"""A class of operations, the function for whole maps, and the other arguments."""

_POINTWISE_ACTIVATIONS = [
    getattr(keras.activations, name)
    for name in (
        "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu "
        "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus "
        "softsign sparse_plus squareplus tanh tanh_shrink threshold"
    ).split()
]
POINTWISE_FUNCTIONS = frozenset(
    (
        "Relu Relu6 Sigmoid Silu Tanh Softplus Softsign Elu Selu Gelu LeakyRelu HardSigmoid "
        "HardSilu Absolute Negative Square Sqrt Exp Add Subtract Multiply Divide TrueDivide "
        "Maximum Minimum"
    ).split()
)
"""Of `keras.ops`, by the names of their classes."""


def activation(function: Callable) -> list[Stage]:
    """An activation as a stage; none for the identity."""
    if function is keras.activations.linear:
        return []
    if function not in _POINTWISE_ACTIVATIONS:
        return [(Operation, function, {})]
    by_channel = function not in (keras.activations.softmax, keras.activations.log_softmax)
    is_cheap = function in (keras.activations.relu, keras.activations.relu6)
    return [(Pointwise, function, {"by_channel": by_channel, "is_cheap": is_cheap})]

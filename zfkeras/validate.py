"""Arguments that many functions take, checked in one way and refused in one form.

An error has three parts: what is wrong, what is expected, what was received.
"""

from collections.abc import Iterable

import numpy as np


def whole_number(name: str, value: object, low: int = 1) -> int:
    """A whole number of at least `low`; `name` is the argument's.

    Example:
        >>> whole_number("batch_size", 32)
        32
        >>> whole_number("batch_size", 2.5)
        Traceback (most recent call last):
        ValueError: `batch_size` must be a whole number of at least 1. Received: batch_size=2.5
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < low:  # type: ignore[operator]
        raise ValueError(
            f"`{name}` must be a whole number of at least {low}. Received: {name}={value!r}"
        )
    return int(value)  # type: ignore[call-overload]


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """One of some words.

    Example:
        >>> choice("rule", "guide", ["deconvnet", "guided"])
        Traceback (most recent call last):
        ValueError: `rule` must be one of deconvnet, guided. Received: rule='guide'
    """
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {', '.join(allowed)}. Received: {name}={value!r}"
        )
    return str(value)

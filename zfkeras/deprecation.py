"""Keywords that have a new name: the older one is understood for one more version."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**older: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function take keywords under older names: `renamed(older="new")`.

    The older name warns (`DeprecationWarning`); both at once are a TypeError, as a keyword that is
    given twice always is.

    Example:
        >>> @renamed(colour="color")
        ... def paint(color):
        ...     return f"{color} paint"
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     print(paint(colour="red"), "-", caught[0].message)
        red paint - paint(colour=) is now called color=. Received: colour='red'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in older.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(
                            f"{function.__name__}() takes {new}=, which was {old}=, once. "
                            f"Received: {old}= and {new}="
                        )
                    warnings.warn(
                        f"{function.__name__}({old}=) is now called {new}=. "
                        f"Received: {old}={kwargs[old]!r}",
                        DeprecationWarning,
                        stacklevel=2,
                    )
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return called

    return decorate

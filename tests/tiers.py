"""What of a parametrised test the default tier runs."""

from collections.abc import Iterable

import pytest


def first_by_default(cases: Iterable) -> list:
    """The first of several cases that take seconds each; all of them with --slow."""
    first, *others = cases
    return [first, *(pytest.param(case, marks=pytest.mark.slow) for case in others)]

"""Types that signatures everywhere name."""

from typing import Any

# TensorFlow ships no types, and a tensor may be symbolic, a variable or NumPy's as well.
Tensor = Any
Pair = tuple[int, int]
# Any value of JSON: what it is is looked at.
JsonValue = Any
# An object as `json` reads and writes it.
Json = dict[str, Any]

"""Where the signal of one unit can be on its way down: a box of every layer's map.

Boxes are counted from ``jump * position``, so that all units of a layer share them: a unit at row
``u`` of the layer has rows ``jump * u + low`` to ``jump * u + high`` of a map below. They may hang
over the map's border, where there is nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfkeras.graph.fields import field_over
from zfkeras.graph.geometry import ReceptiveField
from zfkeras.graph.walking import Step

Size = tuple[int, int]
Interval = tuple[Any, Any]  # low and high (exclusive): ints, or arrays of one for each segment


@dataclass(frozen=True)
class Window:
    """What the unit at the origin of a layer sees of its input, pairs of (rows, columns)."""

    size: Size
    strides: Size
    before: Size

    def under(self, interval: Interval, axis: int) -> Interval:
        """The input that an interval of units sees."""
        low, high = interval
        step, first = self.strides[axis], -self.before[axis]
        return low * step + first, (high - 1) * step + first + self.size[axis]


def window_of(step: Step, sizes: Mapping[int, Size]) -> Window:
    """The window of a layer over maps of the given sizes.

    Raises:
        ValueError: It is not known how far the layer sees, or it isn't a moving window.
    """
    size = sizes[step.inputs[0]]
    if any(sizes[i] != size for i in step.inputs):
        raise ValueError(
            f"The inputs must be of one size. Received: {[sizes[i] for i in step.inputs]}"
        )
    field = field_over(step.operation, step.arguments, ReceptiveField(), size)
    before = [(k - 1) / 2 - c for k, c in zip(field.size, field.start, strict=True)]
    values = (*field.size, *field.jump, *before)
    if any(x != int(x) for x in values):
        raise ValueError(f"Units must move by whole pixels. Received: layer {step.path!r}")
    rows, columns, down, right, top, left = map(int, values)
    return Window((rows, columns), (down, right), (top, left))


@dataclass(frozen=True, eq=False)
class Reach:
    """The boxes of all maps on the way from one layer down.

    Attributes:
        target: The layer's value.
        steps: The way up to it.
        windows: Each step's window.
        sizes: (H, W) of each value.
        jumps: Pixels of each value between neighbouring units of the layer.
    """

    target: int
    steps: Sequence[Step]
    windows: Mapping[Step, Window]
    sizes: Mapping[int, Size]
    jumps: Mapping[int, Size]

    @classmethod
    def of(cls, steps: Sequence[Step], target: int, sizes: Mapping[int, Size]) -> "Reach":
        """Follows the steps down.

        Raises:
            ValueError: A layer on the way isn't a moving window, or branches move differently.
        """
        windows = {step: window_of(step, sizes) for step in steps}
        jumps = {target: (1, 1)}
        for step in reversed(steps):
            (down, right), (rows, columns) = jumps[step.outputs[0]], windows[step].strides
            for i in step.inputs:
                if jumps.setdefault(i, (down * rows, right * columns)) != (
                    down * rows,
                    right * columns,
                ):
                    raise ValueError(f"Branches move by different steps over value {i}")
        return cls(target, steps, windows, sizes, jumps)

    def intervals(self, axis: int, first: Any = None, last: Any = None) -> dict[int, Interval]:
        """The interval of each value along an axis, for units at positions `first` to `last`.

        What lies outside the map for all of them is cut off; nothing is without `first`.
        """
        found: dict[int, Interval] = {self.target: (0, 1)}
        for step in reversed(self.steps):
            reached = self.windows[step].under(found[step.outputs[0]], axis)
            for i in step.inputs:
                mine = reached if first is None else self._cut(reached, i, axis, first, last)
                found[i] = _union(found[i], mine) if i in found else mine
        return found

    def _cut(self, reached: Interval, i: int, axis: int, first: Any, last: Any) -> Interval:
        low, high = reached
        jump, size = self.jumps[i][axis], self.sizes[i][axis]
        cut_low, cut_high = np.maximum(low, -jump * last), np.minimum(high, size - jump * first)
        sees_nothing = cut_low >= cut_high
        return np.where(sees_nothing, low, cut_low), np.where(sees_nothing, high, cut_high)


def _union(a: Interval, b: Interval) -> Interval:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])

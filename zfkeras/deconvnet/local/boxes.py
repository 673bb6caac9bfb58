"""Where the signal of one unit can be on its way down: a box of every layer's map.

Away from the border all units of a layer have boxes of one size; near it, what lies outside the map
is cut off.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfkeras.graph.fields import field_over
from zfkeras.graph.geometry import ReceptiveField
from zfkeras.graph.walking import Step

Size = tuple[int, int]
Interval = tuple[np.ndarray, np.ndarray]  # low and high (exclusive), one for each unit


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
    """

    target: int
    steps: Sequence[Step]
    windows: Mapping[Step, Window]
    sizes: Mapping[int, Size]

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
        return cls(target, steps, windows, sizes)

    def intervals(
        self, axis: int, positions: np.ndarray, cut: Collection[int] = ()
    ) -> dict[int, Interval]:
        """The interval of each value along an axis, for units at `positions` (P,): arrays (P,).

        Args:
            axis: 0: rows, 1: columns.
            positions: Of the units in the layer's map.
            cut: Values whose intervals end at the map's border; others may hang over it. What
                sees nothing of the map at all is left as it is.
        """
        found: dict[int, Interval] = {self.target: (positions, positions + 1)}
        for step in reversed(self.steps):
            reached = self.windows[step].under(found[step.outputs[0]], axis)
            for i in step.inputs:
                mine = _within(reached, self.sizes[i][axis]) if i in cut else reached
                found[i] = _union(found[i], mine) if i in found else mine
        return found


def _within(interval: Interval, size: int) -> Interval:
    low, high = interval
    cut_low, cut_high = np.maximum(low, 0), np.minimum(high, size)
    sees_nothing = cut_low >= cut_high
    return np.where(sees_nothing, low, cut_low), np.where(sees_nothing, high, cut_high)


def _union(a: Interval, b: Interval) -> Interval:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])

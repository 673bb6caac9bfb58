"""Where the signal of one unit can be on its way down: a box of every layer's map.

Away from the border all units of a layer have boxes of one size; near it, what lies outside the map
is cut off.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfkeras.graph.layer_kinds import merged_windows
from zfkeras.graph.walking import Step
from zfkeras.regions.windows import HERE, Windows

Size = tuple[int, int]
Interval = tuple[np.ndarray, np.ndarray]  # low and high (exclusive), one for each unit


def local_windows(step: Step, sizes: Mapping[int, Size]) -> Windows:
    """The windows of a layer over maps of the given sizes.

    Raises:
        ValueError: It is not known how far the layer sees, or its units don't move by whole rows.
    """
    windows = merged_windows(step, [sizes[i] for i in step.inputs])
    if any(window.transposed for window in windows):
        raise ValueError(
            f"Layer '{step.path}' has more units than its input. Allowed are layers whose units "
            f"move by whole rows of the input. Received: {step.operation!r}"
        )
    return windows


@dataclass(frozen=True, eq=False)
class UnitBoxes:
    """The boxes of all maps on the way from one layer down.

    Attributes:
        target: The layer's value.
        steps: The way up to it.
        windows: Each step's window.
        sizes: (H, W) of each value.
    """

    target: int
    steps: Sequence[Step]
    windows: Mapping[Step, Windows]
    sizes: Mapping[int, Size]

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        target: int,
        sizes: Mapping[int, Size],
        in_place: Collection[Step] = (),
    ) -> "UnitBoxes":
        """Follows the steps down.

        Args:
            steps: The way up to the layer.
            target: The layer's value.
            sizes: (H, W) of each value.
            in_place: Steps over which the signal stays in its place, whatever the layer sees.

        Raises:
            ValueError: A layer on the way isn't a moving window, or branches move differently.
        """
        windows = {step: HERE if step in in_place else local_windows(step, sizes) for step in steps}
        jumps = {target: (1, 1)}
        for step in reversed(steps):
            (down, right), (rows, columns) = jumps[step.outputs[0]], windows[step].strides
            for i in step.inputs:
                if jumps.setdefault(i, (down * rows, right * columns)) != (
                    down * rows,
                    right * columns,
                ):
                    raise ValueError(
                        f"Branches meet below layer '{step.path}' that move by different steps. "
                        f"Allowed are equal ones. Received: {jumps[i]} and "
                        f"{(down * rows, right * columns)}"
                    )
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
            reached = self.windows[step][axis].below(*found[step.outputs[0]])
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

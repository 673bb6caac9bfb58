"""Units sorted by position, so that what lies outside the map for all of a group can be cut.

Deep units see far over the border: at conv5 of the ZFNet a quarter of an average unit's box is
outside the image. Along each axis the positions are cut into segments, such that the work within
their boxes, summed over units, is least.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from zfkeras.graph import Step
from zfkeras.local.boxes import Reach

Segment = tuple[int, int]  # first and last position
MOST_SEGMENTS = 8
START = 3e8  # multiply-adds that could be done in the time it takes to start a computation


def groups(
    reach: Reach, work: Mapping[Step, int], positions: np.ndarray
) -> Iterator[tuple[np.ndarray, Segment, Segment]]:
    """Splits units into groups: their indices, and their segments of rows and of columns.

    Args:
        reach: Geometry of the units' layer.
        work: Multiply-adds of each step for one of its output units.
        positions: (row, column) of each unit, (U, 2).
    """
    if not len(positions):
        return
    for row, column in product(*_best_cuts(reach, work, positions)):
        low, high = zip(row, column, strict=True)
        inside = ((positions >= low) & (positions <= high)).all(1)
        if inside.any():
            yield np.flatnonzero(inside), row, column


def _best_cuts(
    reach: Reach, work: Mapping[Step, int], positions: np.ndarray
) -> list[list[Segment]]:
    """Segments of rows and of columns, as many as pay for starting another computation."""
    axes = [_cuts(reach, work, positions[:, axis], axis) for axis in (0, 1)]
    uncut = axes[0][0][0]

    def cost(count: int) -> float:
        (rows, _), (columns, _) = (axis[count] for axis in axes)
        return rows * columns / max(uncut, 1) + START * (count + 1) ** 2

    best = min(range(MOST_SEGMENTS), key=cost)
    return [axis[best][1] for axis in axes]


def _cuts(
    reach: Reach, work: Mapping[Step, int], places: np.ndarray, axis: int
) -> list[tuple[float, list[Segment]]]:
    """The cheapest ways to cut an axis into 1, 2, … segments: their work and the segments."""
    distinct, units = np.unique(places, return_counts=True)
    first, last = np.triu_indices(len(distinct))
    units_before = np.concatenate([[0], np.cumsum(units)])
    cost = np.full((len(distinct), len(distinct)), np.inf)
    cost[first, last] = _work(reach, work, axis, distinct[first], distinct[last])
    cost[first, last] *= units_before[last + 1] - units_before[first]
    return [
        (total, [(int(distinct[i]), int(distinct[j])) for i, j in runs])
        for total, runs in (_cheapest(cost, count) for count in range(1, MOST_SEGMENTS + 1))
    ]


def _work(
    reach: Reach, work: Mapping[Step, int], axis: int, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """Multiply-adds for a unit in each of many segments, with the other axis uncut."""
    mine, other = reach.intervals(axis, first, last), reach.intervals(1 - axis)

    def length(interval: tuple) -> np.ndarray:
        return interval[1] - interval[0]

    outs = {step: step.outputs[0] for step in work}
    return sum(work[step] * length(mine[i]) * length(other[i]) for step, i in outs.items())


def _cheapest(cost: np.ndarray, count: int) -> tuple[float, list[Segment]]:
    """The partition of 0 ... n - 1 into at most `count` runs i ... j of least sum of cost[i, j]."""
    best, starts = cost[0], [np.zeros(len(cost), int)]
    for _ in range(count - 1 if len(cost) > 1 else 0):
        totals = best[:-1, None] + cost[1:]  # the last run starts at 1 ... n - 1
        pays = totals.min(0) < best
        starts.append(np.where(pays, totals.argmin(0) + 1, -1))
        best = np.where(pays, totals.min(0), best)
    runs, end = [], len(cost) - 1
    for start in reversed(starts):
        if end >= 0 and start[end] >= 0:  # -1: one more run would not have paid
            runs.append((int(start[end]), end))
            end = int(start[end]) - 1
    return float(best[-1]), runs[::-1]

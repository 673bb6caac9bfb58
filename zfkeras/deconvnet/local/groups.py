"""Units sorted by position, so that what lies outside the map for all of a group can be cut.

Deep units see far over the border: at conv5 of the ZFNet a quarter of an average unit's box is
outside the image. Along each axis the positions are cut into segments, such that the work within
their boxes, summed over units, is least.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from zfkeras.deconvnet.local.boxes import Interval, Reach
from zfkeras.graph.walking import Step

Segment = tuple[int, int]  # first and last position
Cut = tuple[float, list[Segment]]  # multiply-adds in all, and the segments
MOST_SEGMENTS = 8
START = 4e8  # multiply-adds that could be done in the time it takes to start a computation


def groups(
    reach: Reach, work: Mapping[Step, int], positions: np.ndarray
) -> Iterator[tuple[np.ndarray, Segment, Segment]]:
    """Splits units into groups: their indices, and their segments of rows and of columns.

    Args:
        reach: Geometry of the units' layer.
        work: Multiply-adds of each step for one of its output units.
        positions: (row, column) of each unit, (U, 2).
    """
    if len(positions):
        _, cells = min(_plans(reach, work, positions), key=lambda plan: plan[0])
        for row, column in cells:
            low, high = zip(row, column, strict=True)
            yield np.flatnonzero(((positions >= low) & (positions <= high)).all(1)), row, column


def _plans(
    reach: Reach, work: Mapping[Step, int], positions: np.ndarray
) -> Iterator[tuple[float, list[tuple[Segment, Segment]]]]:
    """Cuts into 1, 2, … segments of rows and each of those into columns: costs and cells."""
    rows, columns = positions.T
    for _, cut in _cuts(reach, work, rows, 0, reach.intervals(1)):
        cost, cells = 0.0, []
        for row in cut:
            inside = columns[(rows >= row[0]) & (rows <= row[1])]
            choices = _cuts(reach, work, inside, 1, reach.intervals(0, *row))
            mine, segments = min(choices, key=lambda choice: choice[0] + START * len(choice[1]))
            cost += mine + START * len(segments)
            cells += [(row, column) for column in segments]
        yield cost, cells


def _cuts(
    reach: Reach,
    work: Mapping[Step, int],
    places: np.ndarray,
    axis: int,
    other: Mapping[int, Interval],
) -> list[Cut]:
    """The cheapest ways to cut an axis into 1, 2, … segments, given the other's intervals."""
    distinct, units = np.unique(places, return_counts=True)
    first, last = np.triu_indices(len(distinct))
    mine = reach.intervals(axis, distinct[first], distinct[last])
    units_before = np.concatenate([[0], np.cumsum(units)])
    cost = np.full((len(distinct), len(distinct)), np.inf)
    cost[first, last] = units_before[last + 1] - units_before[first]
    cost[first, last] *= sum(
        each * _length(mine[step.outputs[0]]) * _length(other[step.outputs[0]])
        for step, each in work.items()
    )
    counts = range(1, min(MOST_SEGMENTS, len(distinct)) + 1)
    return [
        (total, [(int(distinct[i]), int(distinct[j])) for i, j in runs])
        for total, runs in (_cheapest(cost, count) for count in counts)
    ]


def _length(interval: Interval) -> np.ndarray:
    low, high = interval
    return np.asarray(high - low)


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

"""Units with boxes of about the same size, to be taken down together.

Deep units see far over the border: at conv5 of the ZFNet a quarter of an average unit's box is
outside the image. A group's boxes must be of one size, so units are grouped by the sizes of their
own along each axis, such that the work within the boxes, summed over units, is least.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

MOST_RUNS = 5
START = 4e8  # multiply-adds that could be done in the time it takes to start a computation


class Axis(NamedTuple):
    """What units lie at along an axis.

    Attributes:
        places: (P,) distinct positions, those with small boxes first.
        counts: (P,) units at each.
        sizes: (V, P) sizes of the boxes there.
    """

    places: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray


class Cut(NamedTuple):
    """Runs (first and last, by number) of an axis' places, and the work within them."""

    cost: float
    runs: Sequence[tuple[int, int]]


def groups(positions: np.ndarray, sizes: np.ndarray, work: np.ndarray) -> Iterator[np.ndarray]:
    """Splits units into groups, arrays of their indices.

    Args:
        positions: (row, column) of each unit, (U, 2).
        sizes: (V, U, 2) the units' boxes, which depend on rows by their rows alone, and so on.
        work: (V,) multiply-adds for each place of the boxes.
    """
    if len(positions):
        _, cells = min(_plans(positions, sizes, work), key=lambda plan: plan[0])
        for rows, columns in cells:
            inside = np.isin(positions[:, 0], rows) & np.isin(positions[:, 1], columns)
            yield np.flatnonzero(inside)


def _plans(
    positions: np.ndarray, sizes: np.ndarray, work: np.ndarray
) -> Iterator[tuple[float, list[tuple[np.ndarray, np.ndarray]]]]:
    """Cuts rows into 1, 2, … runs and the columns of each of those: costs and cells."""
    rows = _axis(positions[:, 0], sizes[..., 0], work)
    for _, runs in _cuts(rows, work * sizes[..., 1].max(1)):
        cost, cells = 0.0, []
        for first, last in runs:
            places = rows.places[first : last + 1]
            inside = np.isin(positions[:, 0], places)
            columns = _axis(positions[inside, 1], sizes[:, inside, 1], work)
            height = rows.sizes[:, first : last + 1].max(1)
            choices = _cuts(columns, work * height)
            best = min(choices, key=lambda choice: choice.cost + START * len(choice.runs))
            cost += best.cost + START * len(best.runs)
            cells += [(places, columns.places[i : j + 1]) for i, j in best.runs]
        yield cost, cells


def _axis(positions: np.ndarray, sizes: np.ndarray, work: np.ndarray) -> Axis:
    places, units, counts = np.unique(positions, return_index=True, return_counts=True)
    sizes = sizes[:, units]
    order = np.argsort(work @ sizes, kind="stable")
    return Axis(places[order], counts[order], sizes[:, order])


def _cuts(axis: Axis, work: np.ndarray) -> Iterator[Cut]:
    """The cheapest ways to cut an axis into 1, 2, … runs.

    Args:
        axis: What is to be cut.
        work: (V,) multiply-adds for each row or column of the boxes.
    """
    count = len(axis.places)
    cost = np.full((count, count), np.inf)
    for first in range(count):
        largest = np.maximum.accumulate(axis.sizes[:, first:], 1)
        cost[first, first:] = (work @ largest) * np.cumsum(axis.counts[first:])
    return _cheapest(cost, min(MOST_RUNS, count))


def _cheapest(cost: np.ndarray, most: int) -> Iterator[Cut]:
    """The partitions of 0 … n - 1 into at most 1, 2, … runs i … j of least sum of cost[i, j]."""
    best, starts = cost[0], [np.zeros(len(cost), int)]
    yield Cut(float(best[-1]), _runs(starts))
    for _ in range(most - 1):
        totals = best[:-1, None] + cost[1:]  # the last run starts at 1 ... n - 1
        choice = totals.argmin(0)
        total = totals[choice, np.arange(len(cost))]
        pays = total < best
        starts.append(np.where(pays, choice + 1, -1))
        best = np.where(pays, total, best)
        yield Cut(float(best[-1]), _runs(starts))


def _runs(starts: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The runs, given where the last of at most 1, 2, … runs up to each place starts."""
    runs, end = [], len(starts[0]) - 1
    for start in reversed(starts):
        if end >= 0 and start[end] >= 0:  # -1: one more run would not have paid
            runs.append((int(start[end]), end))
            end = int(start[end]) - 1
    return runs[::-1]

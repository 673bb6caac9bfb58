"""Which boxes go through a layer together.

One call of a convolution takes boxes of one size, and each call has a cost of its own. So grid
lines with boxes of similar size are grouped along each axis, the smaller ones filled up with
zeros, and every pair of a group of rows and a group of columns makes a call.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from zfkeras.regions.merging import CALL, WEIGHT, Floats, merges
from zfkeras.regions.windows import Ints, Spans, Window, Windows

MOST = 5  # groups along one axis: more cost more than they spare (VGG16: 3 % at 8)


class Reach(NamedTuple):
    """How a box lies under the windows that see it.

    Attributes:
        windows: Their number.
        lead: Rows of the first window in front of the box.
        end: Rows from the first window's begin to the end of the box.
    """

    windows: int
    lead: int
    end: int


@dataclass(frozen=True)
class Shape:
    """What a group's boxes have in common: the zeros that the convolution itself puts around.

    The convolution skips the taps that lie on them, which it would not do for zeros in the box.
    """

    lead: int
    tail: int


class Cut(NamedTuple):
    """The boxes of one group: `size` rows each, which give `windows` rows of output."""

    size: int
    windows: int


def reaches(window: Window, spans: Spans, output: Spans) -> list[Reach]:
    """How each grid line's box lies under its windows."""
    origins, _ = window.below(output.start, output.stop)
    room = (output.sizes - 1) * window.stride + window.size
    lead = np.clip(spans.start - origins, 0, window.size - 1)
    end = np.clip(spans.stop - origins, 1, room)
    return [Reach(*map(int, reach)) for reach in zip(output.sizes, lead, end, strict=True)]


def shape_of(window: Window, members: list[Reach], skips: bool) -> Shape:
    """The zeros around the boxes of a group, as many as all its members allow."""
    if not skips:
        return Shape(0, 0)
    room = window.extent(max(reach.windows for reach in members))
    lead = min(reach.lead for reach in members)
    tail = room - max(reach.end for reach in members)
    return Shape(lead, min(tail, window.size - 1, room - lead - 1))


def cut(window: Window, shape: Shape, members: list[Reach]) -> Cut:
    """The common size of the boxes of (some) members of a group."""
    windows = max((reach.windows for reach in members), default=1)
    around = shape.lead + shape.tail
    need = max((reach.end for reach in members), default=1) - shape.lead
    size = max(1, need, window.extent(windows) - around)
    return Cut(size, (size + around - window.size) // window.stride + 1)


@lru_cache(maxsize=4096)
def taps(window: Window, shape: Shape, box: Cut) -> int:
    """Pairs of an output row and an input row of the box in its window: the work of one line."""
    first = range(-shape.lead, box.windows * window.stride - shape.lead, window.stride)
    return sum(
        0 <= row + tap < box.size for row in first for tap in range(0, window.size, window.dilation)
    )


@dataclass(frozen=True)
class Partition:
    """Grid lines in groups.

    Attributes:
        shapes: The zeros around each group's boxes.
        groups: (G,) the group of each line.
        work: The sum of `taps` over the lines.
        results: Windows of all boxes, …
        useful: … and how many of them are in the output's.
    """

    shapes: tuple[Shape, ...]
    groups: Ints
    work: int
    results: int
    useful: int


def partition(
    windows: Windows,
    spans: tuple[Spans, Spans],
    output: tuple[Spans, Spans],
    weight: float,
    skips: tuple[bool, bool] = (True, True),
    calls: int = 1,
) -> tuple[Partition, Partition]:
    """The groups of rows and of columns with the least work.

    Args:
        windows: The layer's.
        spans: The boxes in the layer's input.
        output: The boxes in its output.
        weight: Multiply-adds of a pair of taps.
        skips: Whether the layer skips taps on its own zeros along rows, along columns.
        calls: How often each pair of groups will be called.
    """
    rows, columns = (
        list(_partitions(w, reaches(w, s, o), skip))
        for w, s, o, skip in zip(windows, spans, output, skips, strict=True)
    )
    taps = [-(-w.size // w.dilation) for w in windows]
    call = calls * (CALL + WEIGHT * weight * taps[0] * taps[1])

    def cost(pair: tuple[Partition, Partition]) -> float:
        down, across = pair
        pairs = len(down.shapes) * len(across.shapes)
        return down.work * across.work * weight + pairs * call

    return min(itertools.product(rows, columns), key=cost)


def _partitions(window: Window, lines: list[Reach], skips: bool) -> Iterator[Partition]:
    """Partitions into fewer and fewer groups, merging two neighbours in size at a time."""
    count = {reach: lines.count(reach) for reach in sorted(set(lines))}

    def work(group: list[Reach]) -> int:
        shape = shape_of(window, group, skips)
        return sum(count[reach] for reach in group) * taps(window, shape, cut(window, shape, group))

    def results(group: list[Reach]) -> int:
        return sum(count[reach] for reach in group) * max(reach.windows for reach in group)

    kinds = list(count)
    members = {k: [reach] for k, reach in enumerate(kinds)}  # of each group, neighbours in size

    def joined(k: int) -> Floats:
        costs, alive = np.full(len(kinds), np.inf), list(members)
        for a, b in itertools.pairwise(alive):
            if k in (a, b):
                costs[a + b - k] = work(members[a] + members[b])
        return costs

    def join(kept: int, gone: int) -> None:
        members[kept] += members.pop(gone)

    works = np.array([work(group) for group in members.values()], float)
    for _, group in merges(works, joined, join):
        if len(members) <= MOST:
            numbers = {k: n for n, k in enumerate(members)}
            where = {reach: numbers[k] for reach, k in zip(kinds, group.tolist(), strict=True)}
            yield Partition(
                tuple(shape_of(window, group, skips) for group in members.values()),
                np.array([where[reach] for reach in lines], np.int32),
                sum(map(work, members.values())),
                sum(map(results, members.values())),
                sum(reach.windows for reach in lines),
            )

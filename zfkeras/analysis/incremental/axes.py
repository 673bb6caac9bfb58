"""A sliding window over the boxes of a task along one axis: the index vectors for it."""

import itertools
from collections.abc import Iterator

import numpy as np

from zfkeras.analysis.incremental.mosaic import Boxes
from zfkeras.analysis.incremental.partitions import Cut, Partition, Shape, cut, reaches
from zfkeras.regions.windows import Ints, Spans, Window


class Axis:
    """A window over the spans of some grid lines: index vectors along one axis."""

    def __init__(
        self,
        nearest: bool,
        window: Window,
        spans: Spans,
        output: Spans,
        partition: Partition,
        lines: Ints,
    ) -> None:
        self._nearest = nearest
        reach = reaches(window, spans, output)
        self._spans, self._output = spans, output
        self._origins, _ = window.below(output.start, output.stop)
        self._shapes = partition.shapes
        groups = partition.groups[lines]
        self._members = [np.flatnonzero(groups == k) for k in range(len(partition.shapes))]
        self._cuts: list[Cut] = [
            cut(window, shape, [reach[line] for line in members])
            for shape, members in zip(self._shapes, self._members, strict=True)
        ]

    @property
    def results(self) -> int:
        """Windows of all boxes of all groups."""
        return sum(
            box.windows * len(members)
            for box, members in zip(self._cuts, self._members, strict=True)
        )

    def boxes(self) -> Iterator[Boxes]:
        """The boxes of each group."""
        return itertools.starmap(
            self._boxes, zip(self._shapes, self._members, self._cuts, strict=True)
        )

    def _boxes(self, shape: Shape, members: Ints, box: Cut) -> Boxes:
        rows = (self._origins[members] + shape.lead)[:, None] + np.arange(box.size)
        rows = rows.astype(np.int32)
        inside = np.clip(rows, 0, self._spans.length - 1)
        wanted = inside if self._nearest else rows
        return Boxes(self._spans.find(members[:, None], wanted), inside)

    def _results(self) -> tuple[Ints, ...]:
        """For each output row: its group's windows, the first of its box, itself in the box.

        And: the windows of all boxes of its group, of the groups before, of all groups.
        """
        windows = np.array([box.windows for box in self._cuts])
        group_sizes = windows * [len(members) for members in self._members]
        before = np.cumsum(group_sizes) - group_sizes
        group, rank = np.zeros((2, len(self._origins)), int)
        for k, members in enumerate(self._members):
            group[members], rank[members] = k, np.arange(len(members))
        lines = self._output.lines
        group, rank = group[lines], rank[lines]
        row = self._output.pixels - self._output.start[lines]
        every = np.full_like(row, group_sizes.sum())
        return windows[group], rank * windows[group], row, group_sizes[group], before[group], every

    def row_factors(self) -> Ints:
        """(U, 6): a result's entry is the sum of six products of a factor of its row and column."""
        windows, first, row, size, before, _ = self._results()
        return np.stack([before, size, first, windows, row, np.ones_like(row)], 1).astype(np.int32)

    def column_factors(self) -> Ints:
        """(V, 6), in the order of `row_factors`.

        The result of row y, column x of box (i, j) in the pair of groups (c, d) comes after: all
        pairs of groups before c; those of c before d; the boxes of rows before i; of row i the
        boxes before j; of this box the rows before y; and in its row the columns before x.
        """
        windows, first, row, size, before, every = self._results()
        return np.stack([every, before, size, first, windows, row], 1).astype(np.int32)

"""What is planned of a sweep, once for a model: what is computed, and where its pixels are.

Nothing here depends on the images or on the weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.costs import CALL, STEP, places_at_a_time, whole_price
from zfkeras.analysis.incremental.mosaic import Area, Boxes, Layout
from zfkeras.analysis.incremental.operations import (
    Operation,
    OperationBoxes,
    OperationPlan,
    summed_by_place,
)
from zfkeras.graph.walking import IMAGES
from zfkeras.regions.windows import Ints

Values = dict[int, Any]

WORTH = 0.85  # boxes that cover more of a map than this are not worth the bookkeeping


class Lines(NamedTuple):
    """Grid lines, by number: the places of the occluder are all their crossings."""

    rows: Ints
    columns: Ints


class Plan(NamedTuple):
    """Index vectors for the places of a task.

    Attributes:
        pixels: Of each mosaic, which pixels of its map it has.
        steps: The index of each local operation, by its output.
        whole: Of each mosaic that is needed as whole maps, where their pixels are.
        sums: Where the pixels of the layer that is summed up belong.
    """

    pixels: Values
    steps: Values
    whole: Values
    sums: Any


class Task(NamedTuple):
    """Places that are computed at a time."""

    lines: Lines
    plan: Plan


@dataclass(frozen=True, eq=False)
class Local:
    """An operation on mosaics, with the boxes in its inputs and output (None: it is whole)."""

    operation: Operation
    inputs: list[Area]
    output: Area | None


class Planner:
    """Plans the sweep of an occluder over images of one size.

    Args:
        operations: What makes the wanted values from the image.
        hidden: The boxes that the occluder hides of the image: spans of rows and of columns.
        image: (H, W, C).
        scores: The value that is wanted for each place, if any.
        summed: The value one of whose maps is summed up for each place, if any.
        batch_size: As many whole images as may be in memory; the places are cut into tasks that
            take about as much.

    Attributes:
        operations: The same.
        grid: (R, S), the numbers of grid lines.
        locals: The operations that run on mosaics, by the value they make.
        areas: The boxes of the values that are mosaics.
        converted: The mosaics that are needed as whole maps, too.
        decided: What each local operation decided for all tasks.
        last_reads: The values that nobody reads after an operation, and nobody asked for.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        hidden: Area,
        image: tuple[int, int, int],
        scores: int | None,
        summed: int | None,
        batch_size: int,
    ) -> None:
        self.operations, self._hidden, self._image = operations, hidden, image
        self._wanted_whole, self._summed = scores, summed
        self.grid = len(hidden[0].sizes), len(hidden[1].sizes)
        self.locals, self.areas = _route(operations, hidden)
        self.converted = self._values_to_convert()
        self._most = places_at_a_time(operations, self.areas, self.converted, image, batch_size)
        self.decided = self._decide()
        last = {value: operation for operation in operations for value in operation.inputs}
        self.last_reads: dict[Operation, list[int]] = {operation: [] for operation in operations}
        for value, operation in last.items():
            if value not in (scores, summed):
                self.last_reads[operation].append(value)

    def tasks(self, lines: Lines | None = None) -> list[Task]:
        """Tasks for the crossings of some grid lines, or of all; good for any image."""
        return self._every_task if lines is None else self._planned(lines)

    @cached_property
    def _every_task(self) -> list[Task]:
        return self._planned(self._every_line())

    def _planned(self, lines: Lines) -> list[Task]:
        with tf.init_scope():  # so that the index vectors are no part of a graph in the making
            return [Task(part, self._plan(part)) for part in self._parts(lines)]

    def price(self) -> float:
        """About what it takes for one image, in multiply-adds."""
        local = sum(
            step.operation.price(step.inputs, self.decided[value])
            for value, step in self.locals.items()
        )
        whole = [op for op in self.operations if op.output not in self.locals]
        return self.plain_price() + local + math.prod(self.grid) * whole_price(whole, self._image)

    def graph_price(self) -> float:
        """About what it takes to make a graph of it."""
        calls = sum(s.operation.calls(self.decided[value]) for value, s in self.locals.items())
        return STEP * len(self.operations) + CALL * calls

    def plain_price(self) -> float:
        """About what it takes to run the net on one image."""
        return whole_price(self.operations, self._image)

    def _every_line(self) -> Lines:
        rows, columns = self.grid
        return Lines(np.arange(rows), np.arange(columns))

    def _values_to_convert(self) -> list[int]:
        """The mosaics that are needed as whole maps."""
        whole = [op for op in self.operations if op.output not in self.locals]
        needed = {i for op in whole for i in op.inputs} | {self._wanted_whole}
        return [value for value in self.areas if value in needed]

    def _parts(self, lines: Lines) -> list[Lines]:
        """Lines in parts with at most so many crossings."""
        rows, columns = lines
        across = -(-len(columns) // self._most)
        down = -(-len(rows) // (self._most // -(-len(columns) // across)))
        return [
            Lines(part, other)
            for part in np.array_split(rows, down)
            for other in np.array_split(columns, across)
        ]

    def _decide(self) -> Values:
        calls = len(self._parts(self._every_line()))
        return {
            value: step.operation.decide(step.inputs, step.output, calls)
            for value, step in self.locals.items()
        }

    def _plan(self, lines: Lines) -> Plan:
        """The index vectors of a task as tensors."""
        layouts = {IMAGES: Layout.row_by_row(_take(self._hidden, lines))}
        steps: Values = {}
        for value, step in self.locals.items():
            given = OperationBoxes(
                [layouts[i] for i in step.operation.inputs],
                None if step.output is None else _take(step.output, lines),
                lines,
                self.decided[value],
            )
            plan: OperationPlan = step.operation.plan(given)
            steps[value] = plan.index
            if plan.layout is not None:
                layouts[value] = plan.layout
        indices = (
            {value: layout.pixels for value, layout in layouts.items()},
            steps,
            {value: _every_pixel(layouts[value]) for value in self.converted},
            summed_by_place(layouts[self._summed]) if self._summed in layouts else (),
        )
        return Plan(*tf.nest.map_structure(tf.constant, indices))


def _route(
    operations: Sequence[Operation], image: Area
) -> tuple[dict[int, Local], dict[int, Area]]:
    """Which operations run on mosaics, by output, and the boxes of the mosaics."""
    areas, steps = {IMAGES: image}, {}
    for operation in operations:
        if not all(i in areas for i in operation.inputs):
            continue
        inputs = [areas[i] for i in operation.inputs]
        output = operation.area(inputs)
        if output is not None and _share(output) <= WORTH:
            areas[operation.output] = output
            steps[operation.output] = Local(operation, inputs, output)
        elif operation.is_last:
            steps[operation.output] = Local(operation, inputs, None)
    return steps, areas


def _share(area: Area) -> float:
    """The mean share of the map that the boxes cover."""
    rows, columns = (spans.sizes.mean() / spans.length for spans in area)
    return rows * columns


def _take(area: Area, lines: Lines) -> Area:
    rows, columns = (spans.take(part) for spans, part in zip(area, lines, strict=True))
    return rows, columns


def _every_pixel(layout: Layout) -> Ints:
    """Whole maps, (I J, H, W), as `Layout.value_boxes` numbers their pixels."""
    rows, columns = (
        Boxes(
            spans.find(np.arange(len(spans.sizes))[:, None], np.arange(spans.length)),
            np.tile(np.arange(spans.length, dtype=np.int32), (len(spans.sizes), 1)),
        )
        for spans in layout.area
    )
    return layout.value_boxes(rows, columns)

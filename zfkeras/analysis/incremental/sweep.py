"""The occluder's sweep over an image: planned and traced once for a model, run for any image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.costs import CALL, STEP, places_at_a_time, whole_price
from zfkeras.analysis.incremental.mosaic import Area, Boxes, Layout, Mosaic, as_list, place_sums
from zfkeras.analysis.incremental.operations import (
    Operation,
    OperationBoxes,
    OperationCall,
    OperationPlan,
    summed_by_place,
)
from zfkeras.analysis.incremental.steps import operations, single_map
from zfkeras.data.inputs import Floats
from zfkeras.graph.walking import IMAGES, walk
from zfkeras.regions.windows import Ints, Spans, clipped
from zfkeras.types import Tensor

Values = dict[int, Any]

WORTH = 0.85  # boxes that cover more of a map than this are not worth the bookkeeping


class Lines(NamedTuple):
    """Grid lines, by number: the places of the occluder are all their crossings."""

    rows: Ints
    columns: Ints


class Clean(NamedTuple):
    """What tasks need to know of an image as it is, and which map is summed up."""

    maps: Values
    channel: int


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
class _Local:
    """An operation on mosaics, with the boxes in its inputs and output (None: it is whole)."""

    operation: Operation
    inputs: list[Area]
    output: Area | None


class Sweep:
    """An occluder that sweeps over images while a net looks on.

    Keep the object for further images: planning and tracing take about a second. The weights are
    those that the model has when an image is looked at.

    Args:
        model: Functional or Sequential model of (N, H, W, C) images.
        image_size: (height, width) of the images.
        rows: (R,) the occluder's centres.
        columns: (S,) the occluder's centres.
        patch_size: (height, width) of the occluder.
        layer: A layer one of whose maps is summed up.
        scores: Whether the model's output is wanted; if not, nothing beyond the layer is computed,
            and of a convolutional layer only the one map.
        batch_size: As many whole images as may be in memory; the places are cut into tasks that
            take about as much.
        output: Name of the model's output that is wanted, if it has several.

    Attributes:
        grid: (R, S), the numbers of grid lines.
    """

    def __init__(
        self,
        model: keras.Model,
        image_size: tuple[int, int],
        rows: Ints,
        columns: Ints,
        patch_size: tuple[int, int],
        layer: str | None = None,
        scores: bool = True,
        batch_size: int = 64,
        output: str | None = None,
    ) -> None:
        graph = walk(model)
        self._layer = None if layer is None else graph.find(layer)
        self._scores = graph.output(output) if scores else None
        wanted = [value for value in (self._layer, self._scores) if value is not None]
        self._operations = operations(graph.steps_to(*wanted), graph.shapes, wanted)
        self._channel = tf.Variable(0, trainable=False)
        single = None if scores else single_map(self._operations, self._channel)
        self._operations, self._is_single = single or self._operations, single is not None
        hidden = [
            _hidden(centres, size, length)
            for centres, size, length in zip((rows, columns), patch_size, image_size, strict=True)
        ]
        self._image_area = hidden[0], hidden[1]
        self.grid = len(rows), len(columns)
        self._locals, self._areas = _route(self._operations, self._image_area)
        self._converted = self._values_to_convert()
        self._image = (*image_size, graph.shapes[IMAGES][-1] or 1)
        self._most = places_at_a_time(
            self._operations, self._areas, self._converted, self._image, batch_size
        )
        self._decided = self._decide()
        self._traced: Any = None

    def tasks(self, lines: Lines | None = None) -> list[Task]:
        """Tasks for the crossings of some grid lines, or of all; good for any image."""
        parts = self._parts(lines or self._every_line())
        return [Task(part, self._plan(part)) for part in parts]

    def clean(self, image: Floats, channel: int = 0) -> Clean:
        """What the tasks need to know of an image (H, W, C), and of the map to be summed up."""
        self._channel.assign(channel)
        return Clean(self._run_clean(tf.constant(image[None])), channel)

    def run(self, task: Task, clean: Clean, fill: Floats) -> tuple[Floats | None, Floats | None]:
        """Hides each place of a task.

        Args:
            task: One of `tasks`.
            clean: What `clean` returned for the image.
            fill: What the occluder shows: a colour (C,) or (1, 1, C), or a picture (H, W, C).

        Returns:
            The model's outputs (I, J, classes) and the map's sums (I, J), each None if unwanted.
        """
        self._channel.assign(clean.channel)
        shown = tf.constant(np.array(fill, np.float32, ndmin=3))
        arguments = clean.maps, shown, task.plan
        if self._traced is None:
            self._traced = tf.function(self._run, _specs(arguments), autograph=False)
        scores, sums = self._traced(*arguments)
        shape = [len(lines) for lines in task.lines]
        return (
            None if scores is None else np.reshape(scores, (*shape, -1)),
            None if sums is None else np.reshape(sums, shape),
        )

    def price(self) -> tuple[float, float]:
        """About what it takes for each image and once before the first, in multiply-adds."""
        local = sum(
            step.operation.price(step.inputs, self._decided[value])
            for value, step in self._locals.items()
        )
        whole = [op for op in self._operations if op.output not in self._locals]
        places = math.prod(self.grid)
        each = self.plain_price() + local + places * whole_price(whole, self._image)
        calls = sum(s.operation.calls(self._decided[value]) for value, s in self._locals.items())
        start = STEP * len(self._operations) + CALL * calls
        return each, start if self._traced is None else 0.0

    def plain_price(self) -> float:
        """About what it takes to run the net on one image."""
        return whole_price(self._operations, self._image)

    # === Planning ===

    def _every_line(self) -> Lines:
        rows, columns = self.grid
        return Lines(np.arange(rows), np.arange(columns))

    def _values_to_convert(self) -> list[int]:
        """The mosaics that are needed as whole maps."""
        whole = [op for op in self._operations if op.output not in self._locals]
        needed = {i for op in whole for i in op.inputs} | {self._scores}
        return [value for value in self._areas if value in needed]

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
            for value, step in self._locals.items()
        }

    def _plan(self, lines: Lines) -> Plan:
        """The index vectors of a task as tensors."""
        layouts = {IMAGES: Layout.row_by_row(_take(self._image_area, lines))}
        steps: Values = {}
        for value, step in self._locals.items():
            given = OperationBoxes(
                [layouts[i] for i in step.operation.inputs],
                None if step.output is None else _take(step.output, lines),
                lines,
                self._decided[value],
            )
            plan: OperationPlan = step.operation.plan(given)
            steps[value] = plan.index
            if plan.layout is not None:
                layouts[value] = plan.layout
        indices = (
            {value: layout.pixels for value, layout in layouts.items()},
            steps,
            {value: _every_pixel(layouts[value]) for value in self._converted},
            summed_by_place(layouts[self._layer]) if self._layer in layouts else (),
        )
        return Plan(*tf.nest.map_structure(tf.constant, indices))

    # === Running ===

    def _run_clean(self, image: Tensor) -> Values:
        """All values that tasks need of the whole image."""
        values: Values = {IMAGES: image}
        for operation in self._operations:
            values[operation.output] = operation.whole(*(values[i] for i in operation.inputs))
        return {v: x for v, x in values.items() if v in self._areas or v in self._locals}

    def _run(self, clean: Values, fill: Tensor, plan: Plan) -> tuple[Tensor | None, Tensor | None]:
        channel = tf.constant(0) if self._is_single else self._channel
        mosaics, whole = self._run_operations(clean, fill, plan)
        scores = None if self._scores is None else whole[self._scores]
        if self._layer is None:
            return scores, None
        if self._layer in mosaics:
            change = tf.gather(mosaics[self._layer].change, [channel], axis=1)
            before = tf.reduce_sum(tf.gather(clean[self._layer], channel, axis=-1))
            return scores, before + place_sums(change, *plan.sums)[:, 0]
        maps = tf.gather(whole[self._layer], channel, axis=-1)
        return scores, tf.reduce_sum(maps, list(range(1, maps.shape.rank)))

    def _run_operations(
        self, clean: Values, fill: Tensor, plan: Plan
    ) -> tuple[dict[int, Mosaic], Values]:
        """The values that are wanted, as mosaics or as whole maps (places, …)."""
        painted = _painted(fill, plan.pixels[IMAGES])
        mosaics = {IMAGES: Mosaic(clean[IMAGES], plan.pixels[IMAGES], values=painted)}
        whole: Values = {}

        def converted(value: int) -> Tensor:
            if value not in whole:
                whole[value] = mosaics[value].values_at(plan.whole[value])
            return whole[value]

        for operation in self._operations:
            value, step = operation.output, self._locals.get(operation.output)
            if step is None:
                whole[value] = operation.whole(*map(converted, operation.inputs))
            else:
                call = OperationCall(
                    [mosaics[i] for i in operation.inputs],
                    clean[value],
                    plan.pixels.get(value),
                    plan.steps[value],
                    self._decided[value],
                )
                (whole if step.output is None else mosaics)[value] = operation.local(call)
        if self._scores in mosaics:
            converted(self._scores)
        return mosaics, whole


def _painted(fill: Tensor, pixels: Tensor) -> Tensor:
    """The mosaic (M, C) of what the occluder shows; a colour is a picture of one pixel."""
    shown = as_list(fill)
    return tf.gather(shown, tf.minimum(pixels, tf.shape(shown)[0] - 1))


def _specs(arguments: Any) -> Any:
    """The signature of any task's arguments: index vectors and what is shown have any size."""
    clean, fill, plan = tf.nest.map_structure(tf.type_spec_from_value, arguments)
    fill = tf.TensorSpec([None, None, fill.shape[-1]], fill.dtype)
    plan = tf.nest.map_structure(lambda s: tf.TensorSpec([None] * s.shape.rank, s.dtype), plan)
    return clean, fill, plan


def _hidden(centres: Ints, size: int, length: int) -> Spans:
    """What the occluder hides along one axis of the image."""
    start = centres - size // 2
    return clipped(start, start + size, length)


def _route(
    operations: Sequence[Operation], image: Area
) -> tuple[dict[int, _Local], dict[int, Area]]:
    """Which operations run on mosaics, by output, and the boxes of the mosaics."""
    areas, steps = {IMAGES: image}, {}
    for operation in operations:
        if not all(i in areas for i in operation.inputs):
            continue
        inputs = [areas[i] for i in operation.inputs]
        output = operation.area(inputs)
        if output is not None and _share(output) <= WORTH:
            areas[operation.output] = output
            steps[operation.output] = _Local(operation, inputs, output)
        elif operation.is_last:
            steps[operation.output] = _Local(operation, inputs, None)
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

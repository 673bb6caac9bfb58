"""The occluder's sweep over an image: planned once for a model, traced once, run for any image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.mosaic import Boxes, Frame, Mosaic, box_sums
from zfkeras.analysis.incremental.operations import (
    Area,
    Operation,
    OperationBoxes,
    OperationCall,
    Partitions,
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

    maps: dict[str, Any]
    channel: int


class Task(NamedTuple):
    """Places that are computed at a time, and the index vectors for them."""

    lines: Lines
    plan: Any


@dataclass(frozen=True, eq=False)
class _Local:
    """An operation on mosaics, with the boxes in its inputs and output (None: it is whole)."""

    operation: Operation
    inputs: list[Area]
    output: Area | None


class Sweep:
    """An occluder that sweeps over images while a net looks on.

    Planning and tracing take seconds for deep nets, so keep the object for further images. The
    weights are those at the time of construction.

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
        self._shapes: dict[int, tuple] = {}
        shape = [1, *image_size, graph.shapes[IMAGES][-1]]
        self._clean = tf.function(self._run_clean, [tf.TensorSpec(shape)], autograph=False)
        self._clean.get_concrete_function()
        self._most = self._places_at_a_time(batch_size)
        self._partitions = self._partition()
        self._traced: Any = None

    def tasks(self, lines: Lines | None = None) -> list[Task]:
        """Tasks for the crossings of some grid lines, or of all; good for any image."""
        return [Task(part, self._plan(part)) for part in self._parts(lines or self._every_line())]

    def clean(self, image: Floats, channel: int = 0) -> Clean:
        """What the tasks need to know of an image (H, W, C), and of the map to be summed up."""
        self._channel.assign(channel)
        return Clean(self._clean(tf.constant(image[None])), channel)

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
        fill = np.array(fill, np.float32, ndmin=3)
        arguments = clean.maps, tf.constant(fill), task.plan
        if self._traced is None:
            self._traced = tf.function(self._run, _specs(arguments), autograph=False)
        scores, sums = self._traced(*arguments)
        shape = [len(lines) for lines in task.lines]
        return (
            None if scores is None else np.reshape(scores, (*shape, -1)),
            None if sums is None else np.reshape(sums, shape),
        )

    # === Planning ===

    def _every_line(self) -> Lines:
        rows, columns = self.grid
        return Lines(np.arange(rows), np.arange(columns))

    def _values_to_convert(self) -> list[int]:
        """The mosaics that are needed as whole maps."""
        whole = [op for op in self._operations if op.output not in self._locals]
        needed = {i for op in whole for i in op.inputs} | {self._scores}
        return [value for value in self._areas if value in needed]

    def _places_at_a_time(self, batch_size: int) -> int:
        """How many places need about the memory of `batch_size` whole images."""
        whole = {value: np.prod(shape) for value, shape in self._shapes.items()}
        places = [
            area[0].sizes.max() * area[1].sizes.max() * self._shapes[value][-1]
            for value, area in self._areas.items()
        ]
        places += [size for value, size in whole.items() if value not in self._areas]
        places += [whole[value] for value in self._converted]
        return max(1, int(batch_size * max(whole.values()) / max(places)))

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

    def _partition(self) -> dict[int, Partitions | None]:
        calls = len(self._parts(self._every_line()))
        return {
            value: step.operation.partitions(step.inputs, step.output, calls)
            for value, step in self._locals.items()
        }

    def _plan(self, lines: Lines) -> Any:
        """The index vectors of a task as tensors."""
        cut = {id(area): _take(area, lines) for area in self._areas.values()}
        plan = {
            "frames": {
                str(value): Frame(*(spans.pixels for spans in cut[id(area)]))
                for value, area in self._areas.items()
            },
            "steps": {
                str(value): step.operation.plan(
                    OperationBoxes(
                        [cut[id(area)] for area in step.inputs],
                        cut.get(id(step.output)),
                        lines,
                        self._partitions.get(value),
                    )
                )
                for value, step in self._locals.items()
            },
            "whole": {str(v): _every_pixel(cut[id(self._areas[v])]) for v in self._converted},
            "sums": _sum_plan(cut[id(self._areas[self._layer])])
            if self._layer in self._areas
            else (),
        }
        return tf.nest.map_structure(tf.constant, plan)

    # === Running ===

    def _run_clean(self, image: Tensor) -> dict[str, Tensor]:
        """The maps of the whole image that mosaics are cut from."""
        values = {IMAGES: image}
        for operation in self._operations:
            made = operation.whole(*(values[i] for i in operation.inputs))
            area = self._areas.get(operation.output)
            if area is not None:  # the plan rests on it
                made = tf.ensure_shape(made, [1, *(spans.length for spans in area), None])
            values[operation.output] = made
        self._shapes.update({v: _size(x.shape[1:], image) for v, x in values.items()})
        return {str(v): x for v, x in values.items() if v in self._areas or v in self._locals}

    def _run(
        self, clean: dict[str, Tensor], fill: Tensor, plan: Any
    ) -> tuple[Tensor | None, Tensor | None]:
        channel = tf.constant(0) if self._is_single else self._channel
        mosaics, whole = self._run_operations(clean, fill, plan)
        scores = None if self._scores is None else whole[self._scores]
        if self._layer is None:
            return scores, None
        if self._layer in mosaics:
            change = tf.gather(mosaics[self._layer].change, [channel], axis=2)
            before = tf.reduce_sum(tf.gather(clean[str(self._layer)], channel, axis=-1))
            return scores, before + box_sums(change, *plan["sums"])[:, 0]
        maps = tf.gather(whole[self._layer], channel, axis=-1)
        return scores, tf.reduce_sum(maps, list(range(1, maps.shape.rank)))

    def _run_operations(
        self, clean: dict[str, Tensor], fill: Tensor, plan: Any
    ) -> tuple[dict[int, Mosaic], Values]:
        """All values, as mosaics or as whole maps (places, …)."""
        frames, image = plan["frames"], clean[str(IMAGES)]
        painted = _painted(fill, frames[str(IMAGES)])
        mosaics = {IMAGES: Mosaic(image, frames[str(IMAGES)], values=painted)}
        whole: Values = {}

        def converted(value: int) -> Tensor:
            if value not in whole:
                whole[value] = mosaics[value].whole(*plan["whole"][str(value)])
            return whole[value]

        for operation in self._operations:
            value, step = operation.output, self._locals.get(operation.output)
            if step is None:
                whole[value] = operation.whole(*map(converted, operation.inputs))
                continue
            call = OperationCall(
                [mosaics[i] for i in operation.inputs],
                clean[str(value)],
                frames.get(str(value)),
                plan["steps"][str(value)],
                self._partitions.get(value),
            )
            made = operation.local(call)
            (whole if step.output is None else mosaics)[value] = made
        if self._scores in mosaics:
            converted(self._scores)
        return mosaics, whole


def _painted(fill: Tensor, frame: Frame) -> Tensor:
    """The mosaic (U, V, C) of what the occluder shows; a colour is a picture of one pixel."""
    for axis, places in enumerate(frame):
        fill = tf.gather(fill, tf.minimum(places, tf.shape(fill)[axis] - 1), axis=axis)
    return fill


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


def _every_pixel(area: Area) -> tuple[Boxes, Boxes]:
    """Boxes as large as the map."""
    rows, columns = (
        Boxes(
            spans.find(np.arange(len(spans.sizes))[:, None], np.arange(spans.length)),
            np.tile(np.arange(spans.length, dtype=np.int32), (len(spans.sizes), 1)),
        )
        for spans in area
    )
    return rows, columns


def _sum_plan(area: Area) -> tuple[Frame, tuple[Any, ...]]:
    return Frame(*(spans.lines for spans in area)), tuple(
        np.int32(len(spans.sizes)) for spans in area
    )


def _size(shape: Sequence[int | None], image: Tensor) -> tuple[int, ...]:
    """A value's size; where it is not known, as large as the image."""
    return tuple(image.shape[1] if size is None else size for size in shape)


def _specs(arguments: Any) -> Any:
    """The signature of any task's arguments: index vectors and what is shown have any size."""
    clean, fill, plan = tf.nest.map_structure(tf.type_spec_from_value, arguments)
    fill = tf.TensorSpec([None, None, fill.shape[-1]], fill.dtype)
    plan = tf.nest.map_structure(lambda s: tf.TensorSpec([None] * s.shape.rank, s.dtype), plan)
    return clean, fill, plan

"""The occluder's sweep over an image: planned and traced once for a model, run for any image."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from zfkeras.analysis.incremental.mosaic import Mosaic, as_list, place_sums
from zfkeras.analysis.incremental.operations import OperationCall
from zfkeras.analysis.incremental.planning import Lines, Plan, Planner, Task, Values
from zfkeras.analysis.incremental.steps import operations, single_map
from zfkeras.data.inputs import Floats
from zfkeras.graph.walking import IMAGES, walk
from zfkeras.regions.windows import Ints, clipped
from zfkeras.types import Tensor


class Clean(NamedTuple):
    """What tasks need to know of an image as it is, and which map is summed up."""

    maps: Values
    channel: int


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
        made = operations(graph.steps_to(*wanted), graph.shapes, wanted)
        self._channel = tf.Variable(0, trainable=False)
        single = None if scores else single_map(made, self._channel)
        self._is_single = single is not None
        hidden = [
            clipped(centres - size // 2, centres - size // 2 + size, length)
            for centres, size, length in zip((rows, columns), patch_size, image_size, strict=True)
        ]
        self.planner = Planner(
            single or made,
            (hidden[0], hidden[1]),
            (*image_size, graph.shapes[IMAGES][-1] or 1),
            self._scores,
            self._layer,
            batch_size,
        )
        self._traced: Any = None
        self._images = 0

    @property
    def grid(self) -> tuple[int, int]:
        """(R, S), the numbers of grid lines."""
        return self.planner.grid

    def tasks(self, lines: Lines | None = None) -> list[Task]:
        """Tasks for the crossings of some grid lines, or of all; good for any image."""
        return self.planner.tasks(lines)

    def price(self, images: int) -> float:
        """About what it takes for some images, in multiply-adds."""
        price = images * self.planner.price()
        if self._traced is not None:
            return price
        # To plan, and to run each call for the first time, takes about a quarter of a graph.
        graphs = 0.25 if self._images + images == 1 else 1.25
        return price + graphs * self.planner.graph_price()

    def clean(self, image: Floats, channel: int = 0) -> Clean:
        """What the tasks need to know of an image (H, W, C), and of the map to be summed up."""
        self._channel.assign(channel)
        self._images += 1
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
        arguments = clean.maps, self._number_of(clean.channel), shown, task.plan
        scores, sums = self._runner(arguments)(*arguments)
        shape = [len(lines) for lines in task.lines]
        return (
            None if scores is None else np.reshape(scores, (*shape, -1)),
            None if sums is None else np.reshape(sums, shape),
        )

    def _runner(self, arguments: Any) -> Callable[..., tuple[Tensor | None, Tensor | None]]:
        """What runs tasks: a graph, which takes half a second to make, from the second image on."""
        if self._images > 1 and self._traced is None:
            traced = tf.function(self._run, autograph=False)
            self._traced = traced.get_concrete_function(*_specs(arguments))
        return self._run if self._traced is None else self._traced

    def tensors(
        self, image: Tensor, channel: Tensor, fill: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """`clean` and `run` for all places, to be traced into a graph of one's own.

        Args:
            image: (H, W, C) float32.
            channel: int32, the map to be summed up; not of a layer watched without the scores.
            fill: (1, 1, C) or (H, W, C) float32.

        Returns:
            The model's outputs (R S, classes) and the map's sums (R S,), each None if unwanted.
        """
        maps, number = self._run_clean(image[None]), self._number_of(channel)
        tasks = self.tasks()
        scores, sums = zip(*(self._run(maps, number, fill, t.plan) for t in tasks), strict=True)
        order = np.argsort(np.concatenate([_numbers(t.lines, self.grid) for t in tasks]))
        in_order = [
            None if parts[0] is None else tf.gather(tf.concat(parts, 0), order)
            for parts in (scores, sums)
        ]
        return in_order[0], in_order[1]

    def _run_clean(self, image: Tensor) -> Values:
        """All values that tasks need of the whole image."""
        values: Values = {IMAGES: image}
        for operation in self.planner.operations:
            values[operation.output] = operation.whole(*(values[i] for i in operation.inputs))
        kept = {*self.planner.areas, *self.planner.locals}
        return {value: maps for value, maps in values.items() if value in kept}

    def _number_of(self, channel: int | Tensor) -> Tensor:
        """Where the map to be summed up is among those that are made."""
        return tf.constant(0) if self._is_single else tf.convert_to_tensor(channel)

    def _run(
        self, clean: Values, channel: Tensor, fill: Tensor, plan: Plan
    ) -> tuple[Tensor | None, Tensor | None]:
        mosaics, whole = self._run_operations(clean, fill, plan)
        scores = None if self._scores is None else whole[self._scores]
        if self._layer is None:
            return scores, None
        if self._layer in mosaics:
            change = tf.gather(mosaics[self._layer].change, [channel], axis=1)
            before = tf.reduce_sum(tf.gather(clean[self._layer], channel, axis=-1))
            return scores, before + place_sums(change, *plan.sums)[:, 0]
        maps = tf.gather(tf.cast(whole[self._layer], tf.float32), channel, axis=-1)
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
                maps = mosaics[value].values_at(plan.whole[value])
                whole[value] = tf.ensure_shape(maps, [None, *mosaics[value].clean.shape[1:]])
            return whole[value]

        for operation in self.planner.operations:
            value, step = operation.output, self.planner.locals.get(operation.output)
            if step is None:
                whole[value] = operation.whole(*map(converted, operation.inputs))
            else:
                call = OperationCall(
                    [mosaics[i] for i in operation.inputs],
                    clean[value],
                    plan.pixels.get(value),
                    plan.steps[value],
                    self.planner.decided[value],
                )
                (whole if step.output is None else mosaics)[value] = operation.local(call)
            for read in self.planner.last_reads[operation]:  # or they would stay until the end
                mosaics.pop(read, None), whole.pop(read, None)
        if self._scores in mosaics:
            converted(self._scores)
        return mosaics, whole


def _painted(fill: Tensor, pixels: Tensor) -> Tensor:
    """The mosaic (M, C) of what the occluder shows; a colour is a picture of one pixel."""
    shown = as_list(fill)
    return tf.gather(shown, tf.minimum(pixels, tf.shape(shown)[0] - 1))


def _specs(arguments: Any) -> Any:
    """The signature of any task's arguments: index vectors and what is shown have any size."""
    clean, channel, fill, plan = tf.nest.map_structure(tf.type_spec_from_value, arguments)
    fill = tf.TensorSpec([None, None, fill.shape[-1]], fill.dtype)
    plan = tf.nest.map_structure(lambda s: tf.TensorSpec([None] * s.shape.rank, s.dtype), plan)
    return clean, channel, fill, plan


def _numbers(lines: Lines, grid: tuple[int, int]) -> Ints:
    """The numbers of the places at some lines' crossings, row by row."""
    return np.ravel_multi_index(np.ix_(*lines), grid).reshape(-1)

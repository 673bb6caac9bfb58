"""The plain way to occlude, the measure of all others: the net runs on every occluded image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from zfkeras.analysis.painting import occlude
from zfkeras.data.inputs import Floats
from zfkeras.graph.predictor import Predictor, in_batches

Integers = NDArray[np.int64]
Watcher = Callable[[tf.Tensor], tuple[tf.Tensor | None, tf.Tensor | None]]


@dataclass(frozen=True, eq=False)
class Request:
    """Images, and what is to be recorded of each while it is occluded.

    Attributes:
        images: (N, H, W, C).
        fill: (N, 1, 1, C) or (N, H, W, C), what the occluder shows.
        classes: (N, K) whose scores are kept, or None: no scores are wanted.
        channel: (N,) the map whose sum is recorded, or None.
    """

    images: Floats
    fill: Floats
    classes: Integers | None
    channel: Integers | None


def watcher(predictor: Predictor) -> Watcher:
    """A function from images to class scores [N, classes] and the sum of each map [N, maps].

    What the predictor doesn't give, scores or a layer, is None.
    """

    def watch(images: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        scores, layers = predictor.tensors(images)
        return scores, _total(layers[0]) if layers else None

    return watch


def _total(maps: tf.Tensor) -> tf.Tensor:
    """The sum of each map; a dense layer's units are maps of one place."""
    return tf.reduce_sum(maps, axis=list(range(1, maps.shape.rank - 1)))


class PlainSweep:
    """An occluder that sweeps over images while a net looks on, traced once.

    Args:
        watch: What the net tells of images.
        patch: (height, width) of the occluder.
        batch_size: Images at a time.
    """

    def __init__(self, watch: Watcher, patch: tuple[int, int], batch_size: int) -> None:
        self._watch, self._patch, self._batch_size = watch, patch, batch_size
        self._watch_traced = tf.function(watch, autograph=False, reduce_retracing=True)
        self._look_traced = tf.function(self._look, autograph=False, reduce_retracing=True)

    def whole_images(self, images: Floats) -> tuple[Floats | None, Floats | None]:
        """What the net tells of images as they are."""
        scores, sums = in_batches(self._watch_traced, images, self._batch_size)
        return scores, sums

    def __call__(
        self, request: Request, rows: Integers, columns: Integers, progress: bool = False
    ) -> dict[str, Any]:
        """Every place of every image.

        Returns:
            As `zfkeras.analysis.incremental.run.sweep_exactly`.
        """
        images, classes, channel = request.images, request.classes, request.channel
        places = (len(images), len(rows), len(columns))
        count, parts = int(np.prod(places)), []
        starts = range(0, count, self._batch_size)
        for start in tqdm(starts, desc="occluding", unit="batch", disable=not progress):
            numbers = np.arange(start, min(start + self._batch_size, count))
            image, row, column = np.unravel_index(numbers, places)
            seen = self._look_traced(
                images[image],
                rows[row],
                columns[column],
                request.fill[image],
                None if classes is None else classes[image],
                None if channel is None else channel[image],
            )
            parts.append({name: values.numpy() for name, values in seen.items()})
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {name: values.reshape(*places, *values.shape[1:]) for name, values in joined.items()}

    def _look(
        self,
        images: tf.Tensor,
        row: tf.Tensor,
        column: tf.Tensor,
        shown: tf.Tensor,
        classes: tf.Tensor | None,
        channel: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        """What the net tells of images that are hidden at a place each."""
        scores, sums = self._watch(occlude(images, row, column, self._patch, shown))
        seen = {}
        if scores is not None:
            seen["probabilities"] = tf.gather(scores, classes, axis=1, batch_dims=1)
            seen["predicted"] = tf.argmax(scores, axis=1)
        if sums is not None:
            seen["activation"] = tf.gather(sums, channel, axis=1, batch_dims=1)
        return seen

"""The plain way to occlude, the measure of all others: the net runs on every occluded image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from zfkeras.analysis.painting import occlude
from zfkeras.data.inputs import Floats
from zfkeras.graph.kept import Kept
from zfkeras.graph.predictor import Predictor
from zfkeras.types import Tensor

Integers = NDArray[np.int64]
Seen = tuple[Floats | None, Floats | None]
"""Scores (N, classes) and the sum of each map (N, maps); None where not wanted."""


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


class PlainSweep:
    """An occluder that sweeps over images while a net looks on, traced once for a size of image.

    Args:
        predictor: Gives what is to be told of images: their scores, a layer, or both.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._traced: dict[tuple[int, ...], Callable] = {}
        self._images = 0  # that were looked at

    def whole_images(self, images: Floats, batch_size: int) -> Seen:
        """What the net tells of images as they are."""
        size = images.shape[1:]
        self._images += len(images)
        if self._images == 1 and size not in self._traced:  # a graph would take longer to make
            scores, sums = self._told(tf.constant(images))
            return _as_arrays(scores, sums)
        nowhere = np.zeros(len(images), np.int64)
        clear = np.zeros((len(images), 1, 1, images.shape[-1]), np.float32)
        places = np.arange(len(images)), nowhere, nowhere
        parts = list(self._look(images, clear, places, (0, 0), batch_size))
        scores, sums = map(_joined, zip(*parts, strict=True))
        return scores, sums

    def __call__(
        self,
        request: Request,
        rows: Integers,
        columns: Integers,
        patch: tuple[int, int],
        batch_size: int,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Every place of every image.

        Args:
            request: What is asked.
            rows: (R,) the occluder's centres.
            columns: (S,) the occluder's centres.
            patch: (height, width) of the occluder.
            batch_size: Images at a time.
            progress: Whether to show a progress bar.

        Returns:
            As `zfkeras.analysis.incremental.run.sweep_exactly`.
        """
        grid = (len(request.images), len(rows), len(columns))
        image, row, column = (index.reshape(-1) for index in np.indices(grid, np.int32))
        places = image, rows[row], columns[column]
        seen = self._look(request.images, request.fill, places, patch, batch_size)
        total, kept, start = -(-len(image) // batch_size), [], 0
        for scores, sums in tqdm(
            seen, total=total, desc="occluding", unit="batch", disable=not progress
        ):
            some = image[start : start + batch_size]
            kept.append(_recorded(request, scores, sums, some))
            start += len(some)
        joined = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
        return {name: values.reshape(*grid, *values.shape[1:]) for name, values in joined.items()}

    def _look(
        self,
        images: Floats,
        fill: Floats,
        places: tuple[Integers, Integers, Integers],
        patch: tuple[int, int],
        batch_size: int,
    ) -> Iterator[Seen]:
        """What the net tells of images that are hidden at one place each, batch by batch.

        Args:
            images: (N, H, W, C).
            fill: What is shown there, for each image.
            places: Ascending numbers of images; row and column of the place; (n,) each.
            patch: (height, width) of what is hidden.
            batch_size: Places at a time.
        """
        look = self._traced_for(images.shape[1:])
        for start in range(0, len(places[0]), batch_size):
            image, row, column = (x[start : start + batch_size].astype(np.int32) for x in places)
            some = slice(image[0], image[-1] + 1)  # the only images that have to be handed over
            where = image - image[0], row, column, *map(np.int32, patch)
            seen = look(*map(tf.constant, (images[some], fill[some], *where)))
            yield _as_arrays(*seen)

    def _traced_for(self, size: tuple[int, ...]) -> Callable:
        if size not in self._traced:
            whole = tf.TensorSpec((None, *size)), tf.TensorSpec((None, None, None, size[-1]))
            index, number = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
            traced = tf.function(self._seen, autograph=False)
            self._traced[size] = traced.get_concrete_function(
                *whole, index, index, index, number, number
            )
        return self._traced[size]

    def _seen(
        self,
        images: Tensor,
        fill: Tensor,
        image: Tensor,
        row: Tensor,
        column: Tensor,
        height: Tensor,
        width: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        hidden = occlude(
            tf.gather(images, image), row, column, (height, width), tf.gather(fill, image)
        )
        return self._told(tf.ensure_shape(hidden, (None, *images.shape[1:])))

    def _told(self, images: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scores, layers = self.predictor.tensors(images)
        return scores, _total(layers[0]) if layers else None


_KEPT: Kept[PlainSweep] = Kept()


def plain_sweep(
    model: keras.Model, layer: str | None, output: str | None, scores: bool | str
) -> PlainSweep:
    """The kept one for what a `Predictor` of these arguments tells."""
    layers = [] if layer is None else [layer]
    return _KEPT.get(
        model,
        (layer, output, scores),
        lambda: PlainSweep(Predictor.of(model, layers, output, scores)),
    )


def _total(maps: Tensor) -> Tensor:
    """The sum of each map; a dense layer's units are maps of one place."""
    return tf.reduce_sum(maps, axis=list(range(1, maps.shape.rank - 1)))


def _as_arrays(scores: Tensor | None, sums: Tensor | None) -> Seen:
    return None if scores is None else scores.numpy(), None if sums is None else sums.numpy()


def _joined(parts: tuple[Floats | None, ...]) -> Floats | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found else None


def _recorded(
    request: Request, scores: Floats | None, sums: Floats | None, image: Integers
) -> dict[str, Any]:
    """What is kept of a batch."""
    kept: dict[str, Any] = {}
    if scores is not None and request.classes is not None:
        kept["probabilities"] = np.take_along_axis(scores, request.classes[image], axis=1)
        kept["predicted"] = scores.argmax(axis=1)
    if sums is not None and request.channel is not None:
        kept["activation"] = sums[np.arange(len(image)), request.channel[image]]
    return kept

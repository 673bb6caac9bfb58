"""Invariance (paper Sect. 4.1, Fig. 5): move, enlarge or turn an image, watch layers and output.

The paper gives the ranges but no steps, and no formula for its "canonical distance"; ours are
method.md, Invariance: plain Euclidean distances, and those between features scaled to unit length.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.classes import class_of_each
from zfkeras.analysis.painting import paint
from zfkeras.analysis.transforms import check_amounts, matrix, transform
from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images
from zfkeras.graph.heads import checked_scores
from zfkeras.graph.kept import Kept
from zfkeras.graph.predictor import Predictor
from zfkeras.results import Result
from zfkeras.types import Tensor
from zfkeras.validate import whole_number

Integers = NDArray[np.int64]

PAPER = {
    "vertical": tuple(range(-60, 61, 5)),
    "horizontal": tuple(range(-60, 61, 5)),
    "scale": tuple(1 + step / 20 for step in range(17)),
    "rotation": tuple(range(0, 360, 10)),
}
"""Ranges of Fig. 5, which shows the vertical translation only (method.md, Invariance)."""


@dataclass(frozen=True, eq=False, repr=False)
class Invariance(Result):
    """How far T transformed versions of N images are from the images, seen by L layers.

    Attributes:
        kinds: (T,) strings: "vertical", "horizontal", "scale" or "rotation".
        amounts: (T,) pixels down, pixels right, factor or degrees anticlockwise.
        layers: The L layers.
        distances: (N, L, T) Euclidean distance of the layer's features to the image's own.
        unit_distances: (N, L, T) the same between features scaled to unit length: 0 to 2, or 0 to
            √2 for features that are never negative.
        classes: (N,) the class watched.
        probabilities: (N, T) its probability.
        baseline_probabilities: (N,) the same for the image as it is.
        score_name: What these are: "probability", or plain "score".
    """

    kinds: NDArray[np.str_]
    amounts: NDArray[np.float64]
    layers: tuple[str, ...]
    distances: Floats
    unit_distances: Floats
    classes: Integers
    probabilities: Floats
    baseline_probabilities: Floats
    score_name: str = "probability"

    def points(self, kind: str) -> NDArray[np.bool_]:
        """Which of the T transforms are of a kind: an index for the other arrays' last axis."""
        if kind not in self.kinds:
            raise ValueError(
                f"No such transform was made. Expected one of {sorted(set(self.kinds.tolist()))}. "
                f"Received: kind={kind!r}"
            )
        return self.kinds == kind


def invariance(
    model: keras.Model,
    images: Images,
    layers: str | Sequence[str],
    classes: ArrayLike | None = None,
    transforms: Mapping[str, Sequence[float]] = PAPER,
    fill_value: ArrayLike | str = "mean",
    batch_size: int = 32,
    progress: bool = False,
    softmax: bool | None = None,
    output: str | None = None,
    scores: bool | str = True,
) -> Invariance:
    """Measures how features and output change as images are moved, enlarged and turned (Fig. 5).

    Images are transformed about their centre, bilinearly, as raw pixels (method.md, Invariance).

    Args:
        model: Functional or Sequential classifier of (N, H, W, C) images.
        images: (N, H, W, C) pixels, a picture, a folder of pictures or a `tf.data.Dataset`.
        layers: Name or names of the layers whose features to compare; the paper's are its first
            and its seventh.
        classes: Whose probability to watch: a number for all images or one for each; default: the
            predicted class.
        transforms: {kind: amounts}; kinds are "vertical" and "horizontal" (pixels down, right),
            "scale" (factor) and "rotation" (degrees anticlockwise).
        fill_value: What shows beside the image: a grey value, one value a channel, "mean" (each
            image's mean colour), or a picture (H, W, C) such as the training set's mean image.
        batch_size: Images in memory at a time.
        progress: Whether to show a progress bar.
        softmax: Older than `scores`: True is "softmax", False "raw".
        output: Name of the output to watch, if the model has several.
        scores: What to make of it, as in `Predictor`: True, "softmax", "sigmoid" or "raw".

    Returns:
        The `Invariance`.

    Raises:
        ValueError: The images don't fit the model, or a layer, class, transform or filling is
            unknown.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(name="flat"),
        ...                          keras.layers.Dense(4)])
        >>> images = np.random.default_rng(0).uniform(0, 255, (2, 8, 12, 3))
        >>> found = invariance(tiny, images, "flat", transforms={"vertical": [-1, 0, 1]})
        >>> found.distances.shape
        (2, 1, 3)
        >>> found.distances[:, 0, 1]
        array([0., 0.], dtype=float32)
    """
    images = check_images(model, images)
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    amounts = check_amounts(transforms)
    fill = _filling(images, fill_value)
    compare = _Comparison.of(model, layers, output, checked_scores(scores, softmax))
    every = np.arange(len(images))
    count = compare.predictor.classes or 0  # known: layers are asked for, so the net is walked
    class_of_each(classes, every * 0, count)  # so that a wrong one is told of before the work
    kinds = [kind for kind, values in amounts.items() for _ in values]
    steps = np.concatenate(list(amounts.values()))
    maps = np.stack([matrix(*step) for step in zip(kinds, steps, strict=True)], dtype=np.float32)
    with tqdm(total=len(images) * len(maps), desc="transforming", disable=not progress) as bar:
        distances, unit_distances, answers = compare(images, fill, maps, batch_size, bar)
    watched = class_of_each(classes, answers[:, 0].argmax(1), count)
    probabilities = answers[every, :, watched]
    return Invariance(
        kinds=np.array(kinds),
        amounts=steps,
        layers=layers,
        distances=distances,
        unit_distances=unit_distances,
        classes=watched,
        probabilities=probabilities[:, 1:],
        baseline_probabilities=probabilities[:, 0],
        score_name=compare.predictor.score_name,
    )


def _filling(images: Floats, fill_value: ArrayLike | str) -> Floats:
    """What shows beside each image, (N, H, W, C) or (N, 1, 1, C)."""
    if np.shape(fill_value) == images.shape[1:]:
        picture = np.asarray(fill_value, np.float32)
        return np.broadcast_to(picture, images.shape)
    return paint(images, fill_value)


class _Comparison:
    """Compares images with their transformed versions; features never leave the device."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._traced: dict[tuple[int, ...], Callable] = {}

    @classmethod
    def of(
        cls, model: keras.Model, layers: tuple[str, ...], output: str | None, scores: bool | str
    ) -> "_Comparison":
        """The kept one, whose graph is made once for a model."""
        wanted = layers, output, scores
        return _KEPT.get(model, wanted, lambda: cls(Predictor.of(model, *wanted)))

    def __call__(
        self, images: Floats, fill: Floats, maps: Floats, batch_size: int, bar: tqdm
    ) -> tuple[Floats, Floats, Floats]:
        """Distances (N, L, T), unit distances (N, L, T), scores (N, 1 + T, classes), image first.

        Several images go up at a time with all their versions, or one with some of them.
        """
        batch_size = whole_number("batch_size", batch_size)
        traced, rows = self._traced_for(images.shape[1:]), []
        together = max(1, batch_size // (1 + len(maps)))
        parts = np.array_split(maps, math.ceil(len(maps) / batch_size))
        for start in range(0, len(images), together):
            some = tf.constant(images[start : start + together])
            beside = tf.constant(fill[start : start + together])
            found = []
            for part in parts:
                found.append([x.numpy() for x in traced(some, tf.constant(part), beside)])
                bar.update(len(some) * len(part))
            rows.append(_joined(found))
        distances, units, scores = (np.concatenate(x) for x in zip(*rows, strict=True))
        return distances, units, scores

    def _traced_for(self, size: tuple[int, ...]) -> Callable:
        if size not in self._traced:
            images, maps = tf.TensorSpec((None, *size)), tf.TensorSpec((None, 2, 3))
            fill = tf.TensorSpec((None, None, None, size[-1]))
            traced = tf.function(self.batch, autograph=False)
            self._traced[size] = traced.get_concrete_function(images, maps, fill)
        return self._traced[size]

    def batch(
        self, images: Tensor, maps: Tensor, fill: Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Each of n images beside T versions: (n, L, T), (n, L, T) and (n, 1 + T, classes)."""
        n, versions = tf.shape(images)[0], tf.shape(maps)[0]
        moved = transform(
            tf.repeat(images, versions, 0), tf.tile(maps, [n, 1, 1]), tf.repeat(fill, versions, 0)
        )
        # The images go up in the same batch, so that doing nothing gives a distance of zero.
        scores, layers = self.predictor.tensors(tf.concat([images, moved], 0))
        features = [tf.reshape(x, [tf.shape(x)[0], -1]) for x in layers]
        distances = tf.stack([_distances(x, n) for x in features], 1)
        units = tf.stack([_distances(tf.math.l2_normalize(x, 1), n) for x in features], 1)
        return distances, units, tf.concat(_beside(scores, n), 1)


_KEPT: Kept[_Comparison] = Kept()


def _distances(features: tf.Tensor, n: int | tf.Tensor) -> tf.Tensor:
    """How far (n, T) the versions' features are from the image's."""
    image, versions = _beside(features, n)
    return tf.norm(versions - image, axis=2)


def _beside(rows: tf.Tensor, n: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of n images and then all their versions: (n, 1, …) and (n, T, …)."""
    return rows[:n, None], tf.reshape(rows[n:], [n, -1, tf.shape(rows)[1]])


def _joined(parts: list[list[Floats]]) -> list[Floats]:
    """One result of several parts of the versions; the image's own score is in each."""
    distances, units, scores = zip(*parts, strict=True)
    first, *others = scores
    every = [first, *(more[:, 1:] for more in others)]
    return [np.concatenate(distances, 2), np.concatenate(units, 2), np.concatenate(every, 1)]

"""Occlusion sensitivity (paper Sect. 4.2, Fig. 7): hide each place in turn, watch the net.

The paper gives no numbers for the occluder; ours are spec F4: a grey square of a fifth of a
224-pixel image, its centres on a stride grid, clipped at the borders.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.incremental.watch import Question, sweep_coarsely, sweep_exactly
from zfkeras.analysis.occluder import centres, covers, occlude, paint, rectangle
from zfkeras.analysis.results import Result
from zfkeras.graph.answers import check_images, ends_in_softmax, watched_classes
from zfkeras.graph.walking import walk

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Occlusion(Result):
    """What a net answers while each part of N images is hidden, in an R x S grid of places.

    Together with a projection of map `channel` these are the five panels of Fig. 7.

    Attributes:
        rows: (R,) pixel rows of the occluder's centres; the last may lie below the image.
        columns: (S,) pixel columns of the occluder's centres.
        classes: (N, K) the classes watched.
        probabilities: (N, R, S, K) their probabilities (panel d).
        predicted: (N, R, S) the most probable class (panel e).
        activation: (N, R, S) sum over the places of feature map `channel` (panel b), or None.
        channel: (N,) the map of `layer` with the largest sum in the whole image, or None.
        baseline_probabilities, baseline_predicted, baseline_activation: (N, K), (N,), (N,) or
            None: the same for the images as they are.
        image_size: (height, width) of the images.
        patch_size: (height, width) of the occluder.
        strides: (rows, columns) between its centres.
        fill_value: what it shows: colours (N, 1, 1, C), or blurred images (N, H, W, C).
        layer: the layer of panel b, or None.
        evaluated: (N, R, S) with method "coarse", the places that were looked at; None: all.
        error: (N,) with method "coarse", the largest error of the interpolated probabilities
            where it was measured, at places held out; else None.
    """

    rows: Integers
    columns: Integers
    classes: Integers
    probabilities: Floats
    predicted: Integers
    activation: Floats | None
    channel: Integers | None
    baseline_probabilities: Floats
    baseline_predicted: Integers
    baseline_activation: Floats | None
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    fill_value: Floats
    layer: str | None
    evaluated: NDArray[np.bool_] | None = None
    error: Floats | None = None

    def heat_map(self, values: ArrayLike | None = None) -> Floats:
        """Spreads grid values over pixels: each pixel gets the mean of the occluders on it.

        Args:
            values: (N, R, S); default: the probability of the first class watched.

        Returns:
            (N, H, W) float32. Low where hiding the pixel lowers the value.
        """
        values = self.probabilities[..., 0] if values is None else np.asarray(values, np.float32)
        if values.shape != self.predicted.shape:
            raise ValueError(
                "Cannot spread these values over the pixels. Expected one a place, of shape "
                f"{self.predicted.shape}. Received: values with shape={values.shape}"
            )
        down, across = (
            covers(centres, np.arange(length), size).astype(np.float32)
            for centres, length, size in zip(
                (self.rows, self.columns), self.image_size, self.patch_size, strict=True
            )
        )
        total = np.einsum("nrs,rh,sw->nhw", values, down, across, optimize=True)
        return total / np.outer(down.sum(axis=0), across.sum(axis=0)).astype(np.float32)


def occlusion(
    model: keras.Model,
    images: Any,
    patch_size: int | tuple[int, int] = 45,
    strides: int | tuple[int, int] = 8,
    fill_value: ArrayLike | str = 128.0,
    layer: str | None = None,
    classes: ArrayLike | None = None,
    method: str = "plain",
    batch_size: int = 64,
    progress: bool = False,
    softmax: bool | None = None,
) -> Occlusion:
    """Hides each part of the images in turn and records what the net answers (Fig. 7).

    The occluder is painted on the raw pixels, before the model's own preprocessing. Its
    centres lie at 0, s, 2s, … in both directions; it is clipped at the borders, and every
    pixel is hidden at least once.

    Args:
        model: any Keras model from (N, H, W, C) images to (N, classes) scores.
        images: (N, H, W, C) uint8 or float, 0..255, at least one; or a picture, a folder of
            pictures or a `tf.data.Dataset`, see `zfkeras.data.pictures`.
        patch_size: side of the occluder, or (height, width); may exceed the image.
        strides: step between its centres, or (down, across); at most `patch_size`.
        fill_value: a grey value, one value a channel, "mean" (each image's mean colour) or "blur":
            the image itself, blurred with a Gaussian whose sigma is a quarter of the occluder's
            shorter side. That hides details without painting an edge the net has never seen.
        layer: also watch this layer's strongest feature map (largest sum over its places).
        classes: whose probabilities to keep: one class, a list for all images, or (N, K);
            default: each image's predicted class.
        method: "plain" runs the net on every occluded image. "incremental" gives the same but for
            rounding and recomputes only what the occluder can change: several times faster for
            convnets, once it has been planned (seconds for deep nets). "coarse" is approximate:
            it looks at every third place each way and, where the probabilities watched differ
            by more than a quarter of their range from one to the next, at all places in
            between; it interpolates the rest (`predicted`: the nearest) and reports the error.
        batch_size: images in memory at a time; the result does not depend on it.
        progress: show a progress bar.
        softmax: whether to turn the model's outputs into probabilities; default: unless the
            model ends in a softmax. With False the raw scores are recorded.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> found = occlusion(tiny, np.zeros((1, 8, 12, 3)), patch_size=5, strides=3)
        >>> found.probabilities.shape, found.heat_map().shape
        ((1, 3, 4, 1), (1, 8, 12))
    """
    images = check_images(model, images)
    patch, steps = rectangle("patch_size", patch_size), rectangle("strides", strides)
    if method not in ("plain", "incremental", "coarse"):
        raise ValueError(
            'The method is unknown. Expected "plain", "incremental" or "coarse". '
            f"Received: method={method!r}"
        )
    if batch_size < 1:
        raise ValueError(
            f"Batches need room. Expected 1 or more. Received: batch_size={batch_size}"
        )
    rows, columns = (
        centres(length, size, step)
        for length, size, step in zip(images.shape[1:3], patch, steps, strict=True)
    )
    fill = paint(images, fill_value, patch)
    softmax = not ends_in_softmax(model) if softmax is None else softmax
    watch = _watcher(model, layer, softmax)
    whole = _whole_images(watch, images, classes, batch_size)
    if method == "plain":
        seen = _plain(watch, images, whole, rows, columns, patch, fill, batch_size, progress)
    else:
        sweep = Sweep(model, images.shape[1:3], rows, columns, patch, layer, batch_size=batch_size)
        question = Question(images, fill, whole["classes"], whole["channel"], softmax)
        answer = sweep_exactly if method == "incremental" else sweep_coarsely
        seen = answer(sweep, question, progress)
    return Occlusion(
        rows=rows,
        columns=columns,
        image_size=images.shape[1:3],
        patch_size=patch,
        strides=steps,
        fill_value=fill,
        layer=layer,
        **whole,
        **seen,
    )


# === Watching the net ===

Watcher = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def _watcher(model: keras.Model, layer: str | None, softmax: bool) -> Watcher:
    """A function from images to class scores [N, classes] and the sum of each map [N, maps].

    Without a layer there are no maps. All in float32, whatever the model computes in.
    """

    def answer(scores: tf.Tensor) -> tf.Tensor:
        scores = tf.cast(scores, tf.float32)
        return tf.nn.softmax(scores) if softmax else scores

    def total(maps: tf.Tensor) -> tf.Tensor:  # a dense layer's units are maps of one place
        return tf.reduce_sum(tf.cast(maps, tf.float32), axis=list(range(1, maps.shape.rank - 1)))

    if layer is None:
        return lambda images: (
            answer(model(images, training=False)),
            tf.zeros([tf.shape(images)[0], 0]),
        )
    graph = walk(model)
    # A model with one output computes it in its last step.
    last, tapped = graph.steps[-1].outputs[0], graph.find(layer)

    def watch(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = graph.run(images)
        return answer(values[last]), total(values[tapped])

    return watch


def _whole_images(
    watch: Watcher, images: Floats, classes: ArrayLike | None, batch_size: int
) -> dict[str, Any]:
    """The baseline: what the net answers when nothing is hidden."""
    run = tf.function(watch, reduce_retracing=True)
    batches = [
        [part.numpy() for part in run(tf.constant(images[start : start + batch_size]))]
        for start in range(0, len(images), batch_size)
    ]
    scores, sums = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if scores.ndim != 2:
        raise ValueError(
            "The model does not classify. Expected outputs of shape (N, classes). "
            f"Received: outputs with shape={scores.shape}"
        )
    predicted = scores.argmax(axis=1)
    watched = watched_classes(classes, predicted, scores.shape[1])
    has_maps = sums.shape[1] > 0
    return {
        "classes": watched,
        "channel": sums.argmax(axis=1) if has_maps else None,
        "baseline_probabilities": np.take_along_axis(scores, watched, axis=1),
        "baseline_predicted": predicted,
        "baseline_activation": sums.max(axis=1) if has_maps else None,
    }


def _plain(
    watch: Watcher,
    images: Floats,
    whole: dict[str, Any],
    rows: Integers,
    columns: Integers,
    patch: tuple[int, int],
    fill: Floats,
    batch_size: int,
    progress: bool,
) -> dict[str, Any]:
    """Runs the whole net on every occluded image, `batch_size` at a time."""
    classes, channel = whole["classes"], whole["channel"]
    places = (len(images), len(rows), len(columns))
    probabilities = np.empty((*places, classes.shape[1]), np.float32)
    predicted = np.empty(places, np.int64)
    activation = None if channel is None else np.empty(places, np.float32)

    @tf.function(reduce_retracing=True)
    def look(batch, row, column, shown, wanted, strongest):  # type: ignore[no-untyped-def]
        hidden = occlude(batch, row, column, patch, shown)
        scores, sums = watch(hidden)
        kept = tf.gather(scores, wanted, axis=1, batch_dims=1)
        total = None if channel is None else tf.gather(sums, strongest, axis=1, batch_dims=1)
        return kept, tf.argmax(scores, axis=1), total

    starts = range(0, predicted.size, batch_size)
    for start in tqdm(starts, desc="occluding", unit="batch", disable=not progress):
        place = np.unravel_index(np.arange(start, min(start + batch_size, predicted.size)), places)
        image, row, column = place
        strongest = None if channel is None else channel[image]
        kept, best, total = look(
            images[image], rows[row], columns[column], fill[image], classes[image], strongest
        )
        probabilities[place], predicted[place] = kept.numpy(), best.numpy()
        if activation is not None:
            activation[place] = total.numpy()
    return {"probabilities": probabilities, "predicted": predicted, "activation": activation}

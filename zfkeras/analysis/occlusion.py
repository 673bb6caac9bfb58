"""Occlusion sensitivity (paper Sect. 4.2, Fig. 7): hide each place in turn, watch the net.

The paper gives no numbers for the occluder; ours are spec F4: a grey square of a fifth of a
224-pixel image, its centres on a stride grid, clipped at the borders.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from zfkeras.analysis.classes import watched_classes
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.incremental.watch import sweep_coarsely, sweep_exactly
from zfkeras.analysis.map_projections import map_projections, pool_of
from zfkeras.analysis.occluder import centres, covers, paint, rectangle
from zfkeras.analysis.plain_sweep import Request, sweep_plainly, watcher, whole_images
from zfkeras.analysis.results import Result
from zfkeras.data.inputs import check_images
from zfkeras.deconvnet.rules import Rules
from zfkeras.graph.predictor import Predictor

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Occlusion(Result):
    """What a net answers while each part of N images is hidden, in an R x S grid of places.

    With `layer` these are the five panels of Fig. 7.

    Attributes:
        rows: (R,) pixel rows of the occluder's centres; the last may lie below the image.
        columns: (S,) pixel columns of the occluder's centres.
        image_size: (height, width) of the images.
        patch_size: (height, width) of the occluder.
        strides: (rows, columns) between its centres.
        fill_value: what it shows: colours (N, 1, 1, C), or blurred images (N, H, W, C).
        classes: (N, K) the classes watched; None, like all about classes, without scores.
        probabilities: (N, R, S, K) their probabilities (panel d).
        predicted: (N, R, S) the most probable class (panel e).
        layer: the layer of panel b; None, like all about its maps, where none was asked for.
        activation: (N, R, S) sum over the places of feature map `channel` (panel b).
        channel: (N,) the map of `layer` with the largest sum in the whole image.
        baseline_probabilities, baseline_predicted, baseline_activation: (N, K), (N,), (N,): the
            same for the images as they are.
        projection: (N, H, W, C) float32, signed: the strongest unit of map `channel`, projected to
            the pixels by the deconvnet (panel c). None where it has no way down from `layer`.
        projection_error: why there is none then, in the deconvnet's words.
        others: (N, M) which other images map `channel` is projected from, too (numbers in `images`
            or, if given, `others`): those where its total is largest, best first.
        other_activation: (N, M) its totals there.
        other_projections: (N, M, H, W, C) its projections from them.
        evaluated: (N, R, S) with method "coarse", the places that were looked at; None: all.
        error: (N,) with method "coarse", the largest error of the interpolated probabilities
            (without scores: of the activation) where it was measured, at places held out.
        score_name: what `probabilities` are: "probability", or plain "score".
    """

    rows: Integers
    columns: Integers
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    strides: tuple[int, int]
    fill_value: Floats
    classes: Integers | None = None
    probabilities: Floats | None = None
    predicted: Integers | None = None
    layer: str | None = None
    activation: Floats | None = None
    channel: Integers | None = None
    baseline_probabilities: Floats | None = None
    baseline_predicted: Integers | None = None
    baseline_activation: Floats | None = None
    projection: Floats | None = None
    projection_error: str | None = None
    others: Integers | None = None
    other_activation: Floats | None = None
    other_projections: Floats | None = None
    evaluated: NDArray[np.bool_] | None = None
    error: Floats | None = None
    score_name: str = "probability"

    @property
    def response(self) -> Floats:
        """(N, R, S) what hiding changes: the first class' probability, or else the activation."""
        if self.probabilities is None:
            return self.activation  # type: ignore[return-value]  # there is one of the two
        return self.probabilities[..., 0]

    @property
    def baseline_response(self) -> Floats:
        """(N,) the same for the images as they are."""
        if self.baseline_probabilities is None:
            return self.baseline_activation  # type: ignore[return-value]
        return self.baseline_probabilities[:, 0]

    def heat_map(self, values: ArrayLike | None = None) -> Floats:
        """Spreads grid values over pixels: each pixel gets the mean of the occluders on it.

        Args:
            values: (N, R, S); default: `response`, the probability of the first class watched or,
                without scores, the activation.

        Returns:
            (N, H, W) float32. Low where hiding the pixel lowers the value.
        """
        values = self.response if values is None else np.asarray(values, np.float32)
        if values.shape != self.response.shape:
            raise ValueError(
                "Cannot spread these values over the pixels. Expected one a place, of shape "
                f"{self.response.shape}. Received: values with shape={values.shape}"
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
    scores: bool | str = True,
    others: Any = None,
    top_others: int = 8,
    output: str | None = None,
    rules: Rules | None = None,
) -> Occlusion:
    """Hides each part of the images in turn and records what the net answers (Fig. 7).

    The occluder is painted on the raw pixels, before the model's own preprocessing. Its
    centres lie at 0, s, 2s, … in both directions; it is clipped at the borders, and every
    pixel is hidden at least once.

    Args:
        model: any Keras model from (N, H, W, C) images to (N, classes) scores; with `layer` a
            Functional or Sequential one.
        images: (N, H, W, C) uint8 or float, 0..255, at least one; or a picture, a folder of
            pictures or a `tf.data.Dataset`, see `zfkeras.data.pictures`.
        patch_size: side of the occluder, or (height, width); may exceed the image.
        strides: step between its centres, or (down, across); at most `patch_size`.
        fill_value: a grey value, one value a channel, "mean" (each image's mean colour) or "blur":
            the image itself, blurred with a Gaussian whose sigma is a quarter of the occluder's
            shorter side. That hides details without painting an edge the net has never seen.
        layer: also watch this layer's strongest feature map (largest sum over its places), and
            project it with the deconvnet, through the model's own preprocessing.
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
        softmax: older than `scores`: True is "softmax", False "raw".
        scores: what to make of the model's outputs, as in `Predictor`: by default probabilities
            where its last layer gives logits of two or more classes, else what it answers;
            "softmax", "sigmoid" or "raw" to say so. False: no scores are recorded, only the map
            of `layer`, and nothing beyond it is computed; method "incremental" then computes only
            that one map of a convolutional layer, "coarse" goes by it. The model need not classify.
        others: more images, like `images` and of their size, to project the same map from;
            default: the images themselves. What equals an image is never one of its others.
        top_others: in how many of them to do so, at most, the same number for each image; 0: none.
            Each takes as much memory as the image.
        output: name of the output to watch, if the model has several.
        rules: your own reverse rules for the projections, as for `DeconvNet`.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> found = occlusion(tiny, np.zeros((1, 8, 12, 3)), patch_size=5, strides=3)
        >>> found.probabilities.shape, found.heat_map().shape
        ((1, 3, 4, 1), (1, 8, 12))
    """
    images = check_images(model, images)
    patch, steps = rectangle("patch_size", patch_size), rectangle("strides", strides)
    _check(method, batch_size)
    _check_wanted(scores, layer, classes, softmax)
    _check_others(layer, others, top_others)
    rows, columns = (
        centres(length, size, step)
        for length, size, step in zip(images.shape[1:3], patch, steps, strict=True)
    )
    fill = paint(images, fill_value, patch)
    predictor = Predictor(model, [] if layer is None else [layer], output, scores, softmax)
    watch = watcher(predictor)
    answers, sums = whole_images(watch, images, batch_size)
    whole = _baseline(answers, sums, classes)
    if layer is not None and sums is not None:
        pool = (images, sums)
        if others is not None:
            pool = pool_of(model, layer, others, images, batch_size)
        whole |= map_projections(
            model, layer, whole["channel"], images, *pool, top_others, batch_size, rules
        )
    request = Request(images, fill, whole.get("classes"), whole.get("channel"))
    if method == "plain":
        seen = sweep_plainly(watch, request, rows, columns, patch, batch_size, progress)
    else:
        places = (images.shape[1:3], rows, columns, patch)
        sweep = Sweep(model, *places, layer, scores is not False, batch_size, output)
        seen = _INCREMENTALLY[method](sweep, request, predictor.activate, progress)
    return Occlusion(
        rows=rows,
        columns=columns,
        image_size=images.shape[1:3],
        patch_size=patch,
        strides=steps,
        fill_value=fill,
        score_name=predictor.score_name,
        layer=layer,
        **whole,
        **seen,
    )


_INCREMENTALLY = {"incremental": sweep_exactly, "coarse": sweep_coarsely}


def _check(method: str, batch_size: int) -> None:
    if method not in ("plain", *_INCREMENTALLY):
        raise ValueError(
            'The method is unknown. Expected "plain", "incremental" or "coarse". '
            f"Received: method={method!r}"
        )
    if batch_size < 1:
        raise ValueError(
            f"Batches need room. Expected 1 or more. Received: batch_size={batch_size}"
        )


def _check_wanted(
    scores: bool | str, layer: str | None, classes: ArrayLike | None, softmax: bool | None
) -> None:
    """Without scores there must be a layer, and nothing may be said of scores."""
    if scores is not False:
        return
    if layer is None:
        raise ValueError(
            "There is nothing to record. Expected scores=True, the name of a layer, or both. "
            "Received: scores=False, layer=None"
        )
    if classes is not None or softmax is not None:
        raise ValueError(
            "Without the scores there are no classes to watch and no softmax to take. Expected "
            "classes=None and softmax=None with scores=False. "
            f"Received: classes={classes!r}, softmax={softmax!r}"
        )


def _check_others(layer: str | None, others: Any, top_others: int) -> None:
    if not isinstance(top_others, int | np.integer) or top_others < 0:
        raise ValueError(
            "There must be some other images or none. Expected a whole number of at least 0. "
            f"Received: top_others={top_others!r}"
        )
    if others is not None and layer is None:
        raise ValueError(
            "There is no map to project from other images. Expected the name of a layer with "
            "others. Received: layer=None"
        )


def _baseline(
    scores: Floats | None, sums: Floats | None, classes: ArrayLike | None
) -> dict[str, Any]:
    """What is watched, and what it is when nothing is hidden."""
    found: dict[str, Any] = {}
    if scores is not None:
        predicted = scores.argmax(axis=1)
        watched = watched_classes(classes, predicted, scores.shape[1])
        found["classes"], found["baseline_predicted"] = watched, predicted
        found["baseline_probabilities"] = np.take_along_axis(scores, watched, axis=1)
    if sums is not None:
        found["channel"], found["baseline_activation"] = sums.argmax(axis=1), sums.max(axis=1)
    return found

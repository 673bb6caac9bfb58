"""Occlusion sensitivity (paper Sect. 4.2, Fig. 7): hide each place in turn, watch the net.

The paper gives no numbers for the occluder; ours (method.md, Occlusion) are a grey square of a
fifth of the image, its centres on a grid, clipped at the borders.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from zfkeras.analysis.classes import watched_classes
from zfkeras.analysis.incremental.run import sweep_coarsely, sweep_exactly
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.map_projections import map_projections, pool_of
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.analysis.painting import BORDERS, centres, paint, rectangle
from zfkeras.analysis.plain_sweep import PlainSweep, Request, plain_sweep
from zfkeras.data.inputs import Floats, check_images, image_shape
from zfkeras.data.pictures import Images
from zfkeras.deconvnet.rules import Rules
from zfkeras.graph.heads import checked_scores
from zfkeras.graph.kept import Kept
from zfkeras.validate import choice, whole_number

Integers = NDArray[np.int64]


class Occluder:
    """Hides each part of images in turn and records what the net answers (Fig. 7).

    The occluder is painted on the raw pixels, before the model's own preprocessing. Its
    centres lie at 0, s, 2s, … in both directions; it is clipped at the borders, and every
    pixel is hidden at least once.

    What it takes to plan and trace is kept with the model, for this object and for any other of
    the same settings. It answers for the weights that the model has at each call.

    Args:
        model: any Keras model from (N, H, W, C) images to (N, classes) scores; with `layer` a
            Functional or Sequential one.
        patch_size: side of the occluder, or (height, width); may exceed the image.
        strides: step between its centres, or (down, across); at most `patch_size`.
        fill_value: a grey value, one value a channel, "mean" (each image's mean colour) or "blur":
            the image itself, blurred with a Gaussian whose sigma is a quarter of the occluder's
            shorter side. That hides details without painting an edge the net has never seen.
        layer: also watch this layer's strongest feature map (largest sum over its places), and
            project it with the deconvnet, through the model's own preprocessing.
        method: "plain" runs the net on every occluded image. "incremental" gives the same but for
            rounding and recomputes only what the occluder can change: several times faster for
            many convnets, once it has been planned and traced (a second). "auto" takes the one
            that is estimated to be faster for the images at hand; `Occlusion.method` says which.
            "coarse" is approximate:
            it looks at every third place each way and, where the probabilities watched differ
            by more than a quarter of their range from one to the next, at all places in
            between; it interpolates the rest (`predicted`: the nearest) and reports the error.
        batch_size: images in memory at a time; the result does not depend on it.
        softmax: older than `scores`: True is "softmax", False "raw".
        scores: what to make of the model's outputs, as in `Predictor`: by default probabilities
            where its last layer gives logits of two or more classes, else what it answers;
            "softmax", "sigmoid" or "raw" to say so. False: no scores are recorded, only the map
            of `layer`, and nothing beyond it is computed; method "incremental" then computes only
            that one map of a convolutional layer, "coarse" goes by it. The model need not classify.
        output: name of the output to watch, if the model has several.
        rules: your own reverse rules for the projections, as for `DeconvNet`.
        border: "cover", as described; "inside": the occluder goes only where it lies wholly on the
            image, from its upper left corner on, as other tools have it. Some pixels at the lower
            and the right border may then never be hidden.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> occluder = Occluder(tiny, patch_size=5, strides=3)
        >>> [occluder(np.full((1, 8, 12, 3), grey)).probabilities.shape for grey in (0, 99)]
        [(1, 3, 4, 1), (1, 3, 4, 1)]
    """

    def __init__(
        self,
        model: keras.Model,
        patch_size: int | tuple[int, int] = 45,
        strides: int | tuple[int, int] = 8,
        fill_value: ArrayLike | str = 128.0,
        layer: str | None = None,
        method: str = "auto",
        batch_size: int = 64,
        softmax: bool | None = None,
        scores: bool | str = True,
        output: str | None = None,
        rules: Rules | None = None,
        border: str = "cover",
    ) -> None:
        self._patch = rectangle("patch_size", patch_size)
        self._strides = rectangle("strides", strides)
        image_shape(model)
        _check(method, batch_size)
        choice("border", border, BORDERS)
        _check_wanted(scores, layer, softmax)
        self._model, self._layer, self._method, self._rules = model, layer, method, rules
        self._fill_value, self._batch_size, self._output = fill_value, batch_size, output
        self._border, self._scores = border, checked_scores(scores, softmax)
        self._plain()  # any fault of these arguments shows now

    def __call__(
        self,
        images: Images,
        classes: ArrayLike | None = None,
        others: Images | None = None,
        top_others: int = 8,
        progress: bool = False,
    ) -> Occlusion:
        """Occludes images.

        Args:
            images: (N, H, W, C) uint8 or float, 0..255, at least one; or a picture, a folder of
                pictures or a `tf.data.Dataset`, see `zfkeras.data.pictures`.
            classes: whose probabilities to keep: one class, a list for all images, or (N, K);
                default: each image's predicted class.
            others: more images, like `images` and of their size, to project the same map from;
                default: the images themselves. What equals an image is never one of its others.
            top_others: in how many of them to do so, at most, the same number for each image; 0:
                none. Each takes as much memory as the image.
            progress: show a progress bar.

        Returns:
            The `Occlusion`.
        """
        images = check_images(self._model, images)
        _check_others(self._layer, others, top_others)
        _check_classes(self._scores is not False, classes)
        size = images.shape[1:3]
        axes = zip(size, self._patch, self._strides, strict=True)
        rows, columns = (centres(*axis, self._border) for axis in axes)
        fill = paint(images, self._fill_value, self._patch)
        plain = self._plain()
        answers, sums = plain.whole_images(images, self._batch_size)
        whole = _baseline(answers, sums, classes)
        if answers is not None:
            whole["score_name"] = plain.predictor.score_name
        if sums is not None:
            whole["layer"] = self._layer
        if self._layer is not None and sums is not None:
            pool = (images, sums)
            if others is not None:
                pool = pool_of(self._model, self._layer, others, images, self._batch_size)
            whole |= map_projections(
                self._model,
                self._layer,
                whole["channel"],
                images,
                *pool,
                top_others,
                self._batch_size,
                self._rules,
            )
        request = Request(images, fill, whole.get("classes"), whole.get("channel"))
        return Occlusion.of(
            rows=rows,
            columns=columns,
            image_size=size,
            patch_size=self._patch,
            strides=self._strides,
            fill_value=fill,
            border=self._border,
            **whole,
            **self._seen(request, rows, columns, progress),
        )

    def _seen(
        self, request: Request, rows: Integers, columns: Integers, progress: bool
    ) -> dict[str, Any]:
        """What the net answers at each place, and by which method."""
        plain, method = self._plain(), self._method
        if method == "auto":
            method = self._cheapest(plain, request.images, rows, columns)
        if method == "plain":
            places = rows, columns, self._patch
            found = plain(request, *places, self._batch_size, progress)
        else:
            sweep = self._sweep(request.images.shape[1:3], rows, columns)
            sweep_all = _INCREMENTALLY[method]
            found = sweep_all(sweep, request, plain.predictor.activate, progress)
        return found | {"method": method}

    def _cheapest(
        self, plain: PlainSweep, images: Floats, rows: Integers, columns: Integers
    ) -> str:
        """The exact method that is estimated to take less time."""
        # A GPU takes large batches as fast as small boxes.
        if plain.predictor.graph is None or tf.config.list_logical_devices("GPU"):
            return "plain"
        sweep = self._sweep(images.shape[1:3], rows, columns)
        places = len(images) * len(rows) * len(columns)
        is_less = sweep.price(len(images)) < places * sweep.planner.plain_price()
        return "incremental" if is_less else "plain"

    def _plain(self) -> PlainSweep:
        return plain_sweep(self._model, self._layer, self._output, self._scores)

    def _sweep(self, size: tuple[int, int], rows: Integers, columns: Integers) -> Sweep:
        """The kept sweep for images of this size."""
        wanted = self._layer, self._scores is not False, self._batch_size, self._output
        return _SWEEPS.get(
            self._model,
            (size, self._patch, self._strides, self._border, *wanted),
            lambda: Sweep(self._model, size, rows, columns, self._patch, *wanted),
        )


_SWEEPS: Kept[Sweep] = Kept(most=4)  # the index vectors for VGG16 take tens of megabytes


def occlusion(
    model: keras.Model,
    images: Images,
    patch_size: int | tuple[int, int] = 45,
    strides: int | tuple[int, int] = 8,
    fill_value: ArrayLike | str = 128.0,
    layer: str | None = None,
    classes: ArrayLike | None = None,
    method: str = "auto",
    batch_size: int = 64,
    progress: bool = False,
    softmax: bool | None = None,
    scores: bool | str = True,
    others: Images | None = None,
    top_others: int = 8,
    output: str | None = None,
    rules: Rules | None = None,
    border: str = "cover",
) -> Occlusion:
    """`Occluder` for one call: its arguments are those of the object and of its call.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> found = occlusion(tiny, np.zeros((1, 8, 12, 3)), patch_size=5, strides=3)
        >>> found.probabilities.shape, found.heat_map().shape
        ((1, 3, 4, 1), (1, 8, 12))
    """
    occluder = Occluder(
        model,
        patch_size,
        strides,
        fill_value,
        layer,
        method,
        batch_size,
        softmax,
        scores,
        output,
        rules,
        border,
    )
    return occluder(images, classes, others, top_others, progress)


_INCREMENTALLY = {"incremental": sweep_exactly, "coarse": sweep_coarsely}


def _check(method: str, batch_size: int) -> None:
    choice("method", method, ("auto", "plain", *_INCREMENTALLY))
    whole_number("batch_size", batch_size)


def _check_wanted(scores: bool | str, layer: str | None, softmax: bool | None) -> None:
    """Without scores there must be a layer, and nothing may be said of scores."""
    if scores is not False:
        return
    if layer is None:
        raise ValueError(
            "There is nothing to record. Expected scores=True, the name of a layer, or both. "
            "Received: scores=False, layer=None"
        )
    if softmax is not None:
        raise ValueError(
            "Without the scores there is no softmax to take. Expected softmax=None with "
            f"scores=False. Received: softmax={softmax!r}"
        )


def _check_classes(is_scored: bool, classes: ArrayLike | None) -> None:
    if classes is not None and not is_scored:
        raise ValueError(
            "Without the scores there are no classes to watch. Expected classes=None with "
            f"scores=False. Received: classes={classes!r}"
        )


def _check_others(layer: str | None, others: Images | None, top_others: int) -> None:
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

"""Heat maps by name: what a net's answer rests on, told by ten methods in the same way.

Every method gives one number a pixel for a class of each image, so that they can be compared:
with one another, with randomised nets, by deletion and insertion. All explain the class' logit but
"deconvnet", which shows what the paper does, the strongest units of the last feature maps; it does
not know of classes. "deconvnet_logit" starts from the class instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.baselines import BASELINES, Baseline
from zfkeras.analysis.occlusion import occlusion
from zfkeras.answers import Answers, check_images, class_of_each, is_softmax
from zfkeras.deconvnet import DeconvNet
from zfkeras.graph import walk

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Explainer = Callable[[Floats, Integers], Floats]

OURS = ("deconvnet", "deconvnet_logit", "guided", "gradient_x_input", "occlusion")
METHODS = (*OURS, *BASELINES, "random")
"""Ours; tf-keras-vis'; and "random", smooth noise, to know what is worth nothing."""


@dataclass(frozen=True)
class Settings:
    """How explanations are made.

    Attributes:
        layer: Whose strongest units "deconvnet" shows; default: the last with feature maps.
        units: How many of them.
        patch_size: Side of the occluder; default: a fifth of the image's shorter side.
        strides: Step between its places; default: half of it.
        fill_value: Its colour, as in `occlusion`.
        baselines: Options of `Baseline`.
        batch_size: Images in memory at a time.
        seed: Of SmoothGrad's noise and of "random".
    """

    layer: str | None = None
    units: int = 9
    patch_size: int | None = None
    strides: int | None = None
    fill_value: Any = "mean"
    baselines: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 0


def explanations(
    model: keras.Model,
    images: ArrayLike,
    methods: tuple[str, ...] = METHODS,
    classes: ArrayLike | None = None,
    settings: Settings | None = None,
    progress: bool = False,
) -> Floats:
    """Explains the logit of one class of each image by every method.

    Signed pictures become one number a pixel: the largest magnitude of its colours, and their sum
    for gradient × input, whose sign says for or against. Occlusion gives the drop in probability.

    Args:
        model: Functional or Sequential classifier; it is only read.
        images: (N, H, W, C) pixels.
        methods: Some of `METHODS`.
        classes: A class for all images or one for each; default: the predicted.
        settings: How they are made.
        progress: Whether to show a progress bar.

    Returns:
        (methods, N, H, W) float32: high where the class rests on the pixel.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> explanations(tiny, np.ones((1, 8, 12, 3)), ("guided", "occlusion")).shape
        (2, 1, 8, 12)
    """
    images = check_images(model, images)
    predicted = Answers(model)(images)[0]
    watched = class_of_each(classes, predicted.argmax(1), predicted.shape[1])
    makers = {name: explainer(model, name, settings) for name in methods}
    bar = tqdm(makers.items(), desc="explaining", unit="method", disable=not progress)
    return np.stack([make(images, watched) for _, make in bar])


def explainer(model: keras.Model, method: str, settings: Settings | None = None) -> Explainer:
    """A function (images, classes) -> heat maps (N, H, W), made ready once.

    It follows the model's weights when they change.

    Raises:
        ValueError: An unknown method, or one that the model doesn't suit.
    """
    settings = settings or Settings()
    if method == "random":
        return lambda images, _: random_maps(images.shape[:3], settings.seed)
    if method == "occlusion":
        return lambda images, classes: _drop(model, images, classes, settings)
    if method in BASELINES:
        options = {"seed": settings.seed, "batch_size": settings.batch_size} | settings.baselines
        return Baseline(model, method, **options)
    if method == "gradient_x_input":
        project = Projector(model, "gradient", settings.batch_size)
        return lambda images, classes: (project.gradient(images, classes) * images).sum(-1)
    if method == "deconvnet":
        return StrongestUnits(model, settings)
    if method in ("deconvnet_logit", "guided"):
        down = Projector(model, method.removesuffix("_logit"), settings.batch_size)
        return lambda images, classes: np.abs(down(images, classes)[0]).max(-1)
    raise ValueError(f"The method must be one of {METHODS}. Received: method={method!r}")


class StrongestUnits:
    """Sums the magnitudes of the projections of a layer's strongest units, whatever the class."""

    def __init__(self, model: keras.Model, settings: Settings) -> None:
        self._deconv = DeconvNet(model)
        self._layer = last_maps(model) if settings.layer is None else settings.layer
        self._settings = settings

    def __call__(self, images: Floats, _: Integers) -> Floats:
        """Heat maps (N, H, W)."""
        depth = self._deconv.graph.shapes[self._deconv.graph.find(self._layer)][-1]
        units, batch_size = min(self._settings.units, depth or 1), self._settings.batch_size
        found = self._deconv.project(images, self._layer, units, batch_size=batch_size)
        return np.abs(found.pixels).max(-1).sum(1)


class Projector:
    """Projects the logits of classes to pixels, a class of each image, traced once.

    Args:
        model: Functional or Sequential classifier.
        rule: Of `DeconvNet`.
        batch_size: Images at a time.
    """

    def __init__(self, model: keras.Model, rule: str, batch_size: int = 32) -> None:
        self._batch_size = batch_size
        deconv, layer = DeconvNet(model, rule=rule), logits_layer(model)
        self._traced = tf.function(
            lambda images, classes: deconv.project_tensors(images, layer, classes)[:2],
            autograph=False,
            reduce_retracing=True,
        )

    def __call__(self, images: Floats, classes: Integers) -> tuple[Floats, Floats]:
        """Signed pixels (N, H, W, C), in proportion to the logits (N,), and these."""
        parts = []
        for start in range(0, len(images), self._batch_size):
            some = slice(start, start + self._batch_size)
            found = self._traced(tf.constant(images[some]), tf.constant(classes[some], tf.int32))
            parts.append([x.numpy() for x in found])
        pixels, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return pixels, values

    def gradient(self, images: Floats, classes: Integers) -> Floats:
        """Signed pixels (N, H, W, C) of the logits themselves, whatever their values."""
        pixels, values = self(images, classes)
        size = values[:, None, None, None]
        return np.divide(pixels, size, out=np.zeros_like(pixels), where=size != 0)


def logits_layer(model: keras.Model) -> str:
    """Name of the layer whose output, or that before its softmax, are the logits."""
    *before, last = walk(model).steps
    if is_softmax(last.operation) and not getattr(last.operation, "activation", None):
        return next(step.path for step in before if last.inputs[0] in step.outputs)
    return last.path


def last_maps(model: keras.Model) -> str:
    """Name of the last layer whose output is feature maps of more than one place.

    Raises:
        ValueError: There is none.
    """
    graph = walk(model)
    for step in reversed(graph.steps):
        shape = graph.shapes[step.outputs[0]]
        if len(shape) == 4 and shape[1:3] != (1, 1):
            return step.path
    raise ValueError(
        "The method 'deconvnet' shows units of feature maps; this model has none. Use "
        f"'deconvnet_logit'. Received: model={model.name!r}"
    )


def random_maps(shape: tuple[int, ...], seed: int) -> Floats:
    """Smooth noise (N, H, W), blobs of about an eighth of the image, as a control."""
    coarse = np.random.default_rng(seed).normal(size=(shape[0], 8, 8, 1)).astype(np.float32)
    return tf.image.resize(coarse, shape[1:], "bicubic")[..., 0].numpy()


def _drop(model: keras.Model, images: Floats, classes: Integers, settings: Settings) -> Floats:
    patch = settings.patch_size or max(1, min(images.shape[1:3]) // 5)
    found = occlusion(
        model,
        images,
        patch_size=patch,
        strides=settings.strides or max(1, patch // 2),
        fill_value=settings.fill_value,
        classes=classes[:, None],
        batch_size=settings.batch_size,
    )
    return found.baseline_probabilities[:, :, None] - found.heat_map()

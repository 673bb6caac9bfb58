"""Heat maps by name: what a net's answer rests on, as told by ten methods alike.

Every method explains the same thing, the logit of one class of each image, by one number a pixel,
so that they can be compared: with one another, with randomised nets, by deletion and insertion.
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

METHODS = ("deconvnet", "guided", "gradient_x_input", "occlusion", *BASELINES, "random")
"""Ours; tf-keras-vis'; and "random", smooth noise, to know what is worth nothing."""


@dataclass(frozen=True)
class Settings:
    """How explanations are made.

    Attributes:
        patch_size: Side of the occluder; default: a fifth of the image's shorter side.
        strides: Step between its places; default: half of it.
        fill_value: Its colour, as in `occlusion`.
        baselines: Options of `Baseline`.
        batch_size: Images in memory at a time.
        seed: Of SmoothGrad's noise and of "random".
    """

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
        >>> explanations(tiny, np.ones((1, 8, 12, 3)), ("deconvnet", "guided")).shape
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
    if method in ("deconvnet", "guided"):
        down = Projector(model, method, settings.batch_size)
        return lambda images, classes: np.abs(down(images, classes)[0]).max(-1)
    raise ValueError(f"The method must be one of {METHODS}. Received: method={method!r}")


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

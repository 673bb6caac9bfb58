"""Heat maps by name: what a net's answer rests on, told by ten methods in the same way.

Every method gives one number a pixel for a class of each image, so that they can be compared:
with one another, with randomised nets, by deletion and insertion. All explain the class' logit but
"deconvnet", which shows what the paper does, the strongest units of the last feature maps; it does
not know of classes. "deconvnet_logit" starts from the class instead.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.baselines import BASELINES, Baseline
from zfkeras.analysis.classes import class_of_each
from zfkeras.analysis.occlusion import Occluder
from zfkeras.analysis.painting import a_fifth
from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import Rules
from zfkeras.graph.copies import FlatCopy
from zfkeras.graph.feature_layers import last_maps
from zfkeras.graph.kept import Kept
from zfkeras.graph.predictor import Predictor
from zfkeras.graph.walking import walk
from zfkeras.results import Result
from zfkeras.validate import choice

Integers = NDArray[np.int64]
Explainer = Callable[[Floats, Integers], Floats]
Copying = Callable[[], FlatCopy]

OURS = ("deconvnet", "deconvnet_logit", "guided", "gradient_x_input", "occlusion")
METHODS = (*OURS, *BASELINES, "random")
"""Ours; tf-keras-vis'; and "random", smooth noise, to know what is worth nothing."""

# What a method raises where it doesn't suit a model: no rule for a layer, no convolution, …
_UNSUITED = (ValueError, TypeError, ImportError, NotImplementedError, tf.errors.OpError)


@dataclass(frozen=True)
class Settings:
    """How explanations are made.

    Attributes:
        layer: Whose strongest units "deconvnet" shows; default: the last with feature maps.
        units: How many of them.
        patch_size: Side of the occluder; default: a fifth of the image's shorter side.
        strides: Step between its places; default: half of it.
        fill_value: What it shows, as in `occlusion`.
        baselines: Options of `Baseline`.
        batch_size: Images in memory at a time.
        seed: Of SmoothGrad's noise and of "random".
        output: Name of the output to explain, if the model has several.
        scores: What to make of it, as in `Predictor`.
        rules: Your own reverse rules, as for `DeconvNet`.
    """

    layer: str | None = None
    units: int = 9
    patch_size: int | None = None
    strides: int | None = None
    fill_value: Any = "mean"
    baselines: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 0
    output: str | None = None
    scores: bool | str = True
    rules: Rules | None = None

    def copy(self, model: keras.Model) -> FlatCopy:
        """A copy of the model up to the logits that are explained."""
        return FlatCopy.of(model, logits=True, output=self.output)


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Result):
    """Heat maps of M methods over N images; NumPy takes it for the array of its maps.

    Attributes:
        methods: The methods' names.
        classes: (N,) the classes explained.
        maps: (M, N, H, W) float32: high where the class rests on the pixel.
    """

    methods: tuple[str, ...]
    classes: Integers
    maps: Floats

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.maps, dtype, copy=copy)

    def __getitem__(self, key: Any) -> Any:
        return self.maps[key]

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `maps`."""
        return self.maps.shape


def explanations(
    model: keras.Model,
    images: Images,
    methods: str | Sequence[str] = METHODS,
    classes: ArrayLike | None = None,
    settings: Settings | None = None,
    progress: bool = False,
) -> Explanations:
    """Explains the logit of one class of each image by every method.

    Signed pictures become one number a pixel: the largest magnitude of its colours, and their sum
    for gradient × input, whose sign says for or against. Occlusion gives the drop in probability.

    Args:
        model: Functional or Sequential classifier; it is only read.
        images: (N, H, W, C) pixels, a picture, a folder or a `tf.data.Dataset`.
        methods: One or some of `METHODS`.
        classes: A class for all images or one for each; default: the predicted.
        settings: How they are made.
        progress: Whether to show a progress bar.

    Returns:
        The `Explanations`, which can be used as the array of its maps, (methods, N, H, W).

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4)])
        >>> explanations(tiny, np.ones((1, 8, 12, 3)), ("guided", "occlusion")).shape
        (2, 1, 8, 12)
    """
    settings, images = settings or Settings(), check_images(model, images)
    predictor = Predictor.of(model, (), settings.output, settings.scores)
    predicted = predictor(images, settings.batch_size).scores
    watched = class_of_each(classes, predicted.argmax(1), predicted.shape[1])
    maps, unsuited = suited_maps(model, images, methods, watched, settings, progress)
    for error in unsuited.values():
        raise error
    return Explanations(tuple(maps), watched, np.stack(list(maps.values())))


def suited_maps(
    model: keras.Model,
    images: Floats,
    methods: str | Sequence[str],
    classes: Integers,
    settings: Settings,
    progress: bool = False,
) -> tuple[dict[str, Floats], dict[str, Exception]]:
    """Heat maps (N, H, W) of the methods that suit a model, and what the others say, by name.

    Args:
        model: As in `explanations`.
        images: (N, H, W, C) float32.
        methods: As in `explanations`.
        classes: (N,) the classes to explain.
        settings: How they are made.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: An unknown method.
    """
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    for method in methods:
        choice("method", method, METHODS)
    walk(model)  # a model that can't be is refused as a whole, not method by method
    copy = functools.cache(lambda: settings.copy(model))  # for all methods that need one
    maps, unsuited = {}, {}
    for method in tqdm(methods, desc="explaining", unit="method", disable=not progress):
        try:
            maps[method] = _makers()[method](model, settings, copy)(images, classes)
        except _UNSUITED as error:
            unsuited[method] = error
    return maps, unsuited


def explainer(
    model: keras.Model,
    method: str,
    settings: Settings | None = None,
    flat: FlatCopy | None = None,
) -> Explainer:
    """A function (images, classes) -> heat maps (N, H, W), made ready once.

    It follows the model's weights when they change.

    Args:
        model: Functional or Sequential classifier; it is only read.
        method: One of `METHODS`.
        settings: How maps are made.
        flat: A copy of the model up to its logits, for several methods to share.

    Raises:
        ValueError: An unknown method, or one that the model doesn't suit.
    """
    choice("method", method, METHODS)
    settings = settings or Settings()
    return _makers()[method](model, settings, lambda: flat or settings.copy(model))


def _makers() -> dict[str, Callable[..., Explainer]]:
    """For each method a function (model, settings, what gives a flat copy) -> explainer."""
    ours: dict[str, Callable[..., Explainer]] = {
        "deconvnet": lambda model, settings, _: StrongestUnits(model, settings),
        "deconvnet_logit": _magnitude("deconvnet"),
        "guided": _magnitude("guided"),
        "gradient_x_input": _gradient_x_input,
        "occlusion": _drop,
        "random": lambda _, settings, __: (
            lambda images, ___: random_maps(images.shape[:3], settings.seed)
        ),
    }
    return ours | {name: _baseline(name) for name in BASELINES}


def _magnitude(rule: str) -> Callable[..., Explainer]:
    def make(_: keras.Model, settings: Settings, copy: Copying) -> Explainer:
        project = Projector.of(copy(), rule, settings)
        return lambda images, classes: np.abs(project(images, classes)).max(-1)

    return make


def _gradient_x_input(_: keras.Model, settings: Settings, copy: Copying) -> Explainer:
    project = Projector.of(copy(), "gradient", settings)
    return lambda images, classes: (project(images, classes) * images).sum(-1)


def _baseline(method: str) -> Callable[..., Explainer]:
    def make(_: keras.Model, settings: Settings, copy: Copying) -> Explainer:
        options = {"seed": settings.seed, "batch_size": settings.batch_size} | settings.baselines
        return Baseline(copy(), method, **options)

    return make


def _drop(model: keras.Model, settings: Settings, _: Copying) -> Explainer:
    @functools.cache
    def occluder(size: tuple[int, int]) -> Occluder:
        patch = settings.patch_size or a_fifth(size)
        return Occluder(
            model,
            patch_size=patch,
            strides=settings.strides or max(1, patch // 2),
            fill_value=settings.fill_value,
            batch_size=settings.batch_size,
            output=settings.output,
            scores=settings.scores,
        )

    def explain(images: Floats, classes: Integers) -> Floats:
        return occluder(images.shape[1:3])(images, classes[:, None]).importance()

    return explain


class StrongestUnits:
    """Sums the magnitudes of the projections of a layer's strongest units, whatever the class."""

    def __init__(self, model: keras.Model, settings: Settings) -> None:
        self._deconv = DeconvNet(model, rules=settings.rules)
        self._layer = settings.layer or last_maps(model, settings.output) or ""
        if not self._layer:
            raise ValueError(
                "The method 'deconvnet' shows units of feature maps; this model has none. Use "
                f"'deconvnet_logit'. Received: model={model.name!r}"
            )
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
        flat: A copy of a classifier up to its logits.
        rule: Of `DeconvNet`.
        batch_size: Images at a time.
        rules: Your own reverse rules, as for `DeconvNet`.
    """

    _OFFSET = 1e4

    def __init__(
        self,
        flat: FlatCopy,
        rule: str,
        batch_size: int = 32,
        rules: Rules | None = None,
    ) -> None:
        self._flat, self._batch_size = flat, batch_size
        # A projection starts from the activation's value. That of a negative logit would show what
        # speaks against the class: raised by a constant, which the way down ignores, all are alike.
        raise_ = keras.layers.Rescaling(1.0, offset=self._OFFSET, name="raised", dtype="float32")
        model = keras.Model(flat.model.input, raise_(flat.model.output))
        deconv = DeconvNet(model, rule=rule, rules=rules)
        self._project = tf.function(
            lambda images, classes: deconv.project_tensors(images, "raised", classes)[:2],
            autograph=False,
        )
        self._traced: dict[tuple[int, ...], Callable] = {}

    @classmethod
    def of(cls, flat: FlatCopy, rule: str, settings: Settings) -> "Projector":
        """The kept one, whose graph is made once for a copy."""
        own = dict(settings.rules or {})
        wanted = rule, settings.batch_size, *((key, id(way)) for key, way in own.items())
        return _KEPT.get(flat.model, wanted, lambda: cls(flat, rule, settings.batch_size, own))

    def __call__(self, images: Floats, classes: Integers) -> Floats:
        """Signed pixels (N, H, W, C) of a logit of one: with rule "gradient", its gradient."""
        self._flat.refresh()
        size, parts = images.shape[1:], []
        if size not in self._traced:
            self._traced[size] = self._project.get_concrete_function(
                tf.TensorSpec((None, *size)), tf.TensorSpec((None,), tf.int32)
            )
        for start in range(0, len(images), self._batch_size):
            some = slice(start, start + self._batch_size)
            wanted = tf.constant(classes[some], tf.int32)
            pixels, values = self._traced[size](tf.constant(images[some]), wanted)
            parts.append(pixels / values[:, None, None, None])
        return np.concatenate(parts)


_KEPT: Kept[Projector] = Kept()


def random_maps(shape: tuple[int, ...], seed: int) -> Floats:
    """Smooth noise (N, H, W), blobs of about an eighth of the image, as a control."""
    coarse = np.random.default_rng(seed).normal(size=(shape[0], 8, 8, 1)).astype(np.float32)
    return tf.image.resize(coarse, shape[1:], "bicubic")[..., 0].numpy()

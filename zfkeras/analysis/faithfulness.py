"""How far to trust a heat map: deletion, insertion, and nets that have forgotten what they knew.

Deletion and insertion (Petsiuk et al. 2018): hide the pixels that a map calls important first, or
show them first; a map that knows what the class rests on makes its probability fall, or rise, at
once. Randomisation (Adebayo et al. 2018): shuffle the weights; a map that stays the same does not
depend on what the net has learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.classes import class_of_each
from zfkeras.analysis.explanations import METHODS, Settings, suited_maps
from zfkeras.analysis.painting import paint
from zfkeras.analysis.randomization import deletion_insertion, randomization, rank_correlation
from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images
from zfkeras.graph.predictor import Predictor
from zfkeras.results import Result
from zfkeras.validate import whole_number

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness(Result):
    """M methods' heat maps of N images, and what they are worth.

    Attributes:
        methods: The M methods.
        classes: (N,) the class explained.
        maps: (M, N, H, W) heat: high where the class rests on the pixel.
        fractions: (S,) share of the pixels hidden, or shown, from 0 to 1.
        deletion: (M, N, S) probability of the class with the hottest pixels hidden.
        insertion: (M, N, S) its probability with only the hottest pixels shown.
        similarity: (M, M, N) rank correlation (Spearman) between two methods' maps.
        layers: The layers that were randomised, from the top down; () if none was.
        cascading: (M, N, L) rank correlation between the map and that of the net with this layer
            and all above it shuffled.
        independent: (M, N, L) the same with this layer alone shuffled.
        baseline_probabilities: (N,) the class' probability for the image as it is.
        score_name: What the probabilities are: "probability", or plain "score".
        skipped: The methods that don't suit the model, each with the reason.
    """

    methods: tuple[str, ...]
    classes: Integers
    maps: Floats
    fractions: Floats
    deletion: Floats
    insertion: Floats
    similarity: Floats
    layers: tuple[str, ...]
    cascading: Floats
    independent: Floats
    baseline_probabilities: Floats
    score_name: str = "probability"
    skipped: tuple[tuple[str, str], ...] = ()

    def areas(self) -> dict[str, NDArray[Any]]:
        """Area under the two curves, (M, N) each: deletion's is good when low, insertion's high."""
        return {
            name: np.asarray(np.trapezoid(curves, self.fractions))
            for name, curves in (("deletion", self.deletion), ("insertion", self.insertion))
        }


def faithfulness(
    model: keras.Model,
    images: Images,
    methods: str | Sequence[str] = METHODS,
    classes: ArrayLike | None = None,
    steps: int = 24,
    fill_value: ArrayLike | str = "mean",
    randomize: bool = True,
    settings: Settings | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
    output: str | None = None,
    scores: bool | str = True,
) -> Faithfulness:
    """Puts heat maps to the test; the model is only read.

    Args:
        model: Functional or Sequential classifier.
        images: (N, H, W, C) pixels, a picture, a folder or a `tf.data.Dataset`.
        methods: One or some of `zfkeras.analysis.explanations.METHODS`.
        classes: The class to explain, for all images or of each; default: the predicted.
        steps: Steps of the deletion and insertion curves.
        fill_value: Colour of hidden pixels: a grey value, one value a channel or "mean".
        randomize: Whether to run the randomisation checks too: two nets a layer.
        settings: How the maps are made.
        seed: Of the randomisation.
        batch_size: Images in memory at a time.
        progress: Whether to show a progress bar.
        output: Name of the output to explain, if the model has several.
        scores: What to make of it, as in `Predictor`: True, "softmax", "sigmoid" or "raw".

    Returns:
        The `Faithfulness`, of the methods that suit the model; its `skipped` names the others.

    Raises:
        ValueError: Images, classes or methods that don't fit; no method suits the model.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten(),
        ...                          keras.layers.Dense(4, name="logits")])
        >>> found = faithfulness(tiny, np.ones((1, 8, 12, 3)), ["guided", "random"], steps=5)
        >>> found.deletion.shape, found.layers, found.areas()["deletion"].shape
        ((2, 1, 6), ('logits',), (2, 1))
    """
    images = check_images(model, images)
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    _check(methods, steps)
    settings = _settled(settings or Settings(), output, scores)
    predictor = Predictor.of(model, (), settings.output, settings.scores)
    whole = predictor(images, batch_size).scores
    watched = class_of_each(classes, whole.argmax(1), whole.shape[1])
    fill = paint(images, fill_value)[:, 0, 0]
    named, unsuited = suited_maps(model, images, methods, watched, settings, progress)
    _check_any(named, unsuited)
    maps = np.stack(list(named.values()))
    fractions = np.linspace(0, 1, steps + 1, dtype=np.float32)
    todo = tqdm(maps, desc="deleting, inserting", unit="method", disable=not progress)
    curves = np.array([
        [
            deletion_insertion(predictor, *each, fractions, batch_size)
            for each in zip(images, heat, watched, fill, strict=True)
        ]
        for heat in todo
    ])  # fmt: skip
    return Faithfulness(
        methods=tuple(named),
        classes=watched,
        maps=maps,
        fractions=fractions,
        deletion=curves[:, :, 0],
        insertion=curves[:, :, 1],
        similarity=np.array([[rank_correlation(a, b) for b in maps] for a in maps]),
        baseline_probabilities=whole[np.arange(len(images)), watched],
        score_name=predictor.score_name,
        skipped=tuple((method, str(error)) for method, error in unsuited.items()),
        **_forgotten(model, named if randomize else {}, images, watched, settings, seed, progress),
    )


def _forgotten(model: keras.Model, maps: dict[str, Floats], *arguments: Any) -> dict[str, Any]:
    """The randomisation checks, or nothing of the right shapes where there are no maps."""
    if maps:
        return randomization(model, maps, *arguments)
    return {"layers": (), "cascading": np.zeros((0, 0, 0)), "independent": np.zeros((0, 0, 0))}


def _settled(settings: Settings, output: str | None, scores: bool | str) -> Settings:
    """The settings with what the keywords say of the output."""
    output = settings.output if output is None else output
    return replace(settings, output=output, scores=settings.scores if scores is True else scores)


def _check_any(maps: dict[str, Floats], unsuited: dict[str, Exception]) -> None:
    if not maps:
        reasons = "; ".join(f"{method}: {error}" for method, error in unsuited.items())
        raise ValueError(
            f"None of these methods suits the model. Expected one or more of {METHODS} that do. "
            f"Received: methods={tuple(unsuited)} ({reasons})"
        )


def _check(methods: tuple[str, ...], steps: int) -> None:
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(
            f"Expected one or more methods of {METHODS}, each once. Received: methods={methods!r}"
        )
    whole_number("steps", steps)

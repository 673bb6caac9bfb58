"""Correspondence (paper Sect. 4.3, Fig. 8, Table 1): does hiding a part mean the same everywhere?

The same part, say the nose, is hidden in several images. If the net relates the noses to one
another, its features change alike in all of them: the signs of the changes agree more often than
when random parts are hidden. Normalisation, ternary signs and pairs are method.md, Correspondence.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.classes import class_of_each
from zfkeras.analysis.painting import paint, rectangle
from zfkeras.data.inputs import Floats, check_images
from zfkeras.data.pictures import Images
from zfkeras.graph.predictor import Predictor
from zfkeras.results import Result
from zfkeras.validate import whole_number

Integers = NDArray[np.int64]
Masks = NDArray[np.bool_]

RANDOM = "random"
MEASURES = ("distances", "agreements")


@dataclass(frozen=True, eq=False, repr=False)
class Correspondence(Result):
    """How consistently L layers of a net change when P parts of N images are hidden.

    There are M = N (N - 1) / 2 pairs of images. Lower distances mean that hiding the part changes
    features alike.

    Attributes:
        parts: The P parts.
        layers: The L layers.
        distances: (P, L, M) share of the features whose change has not the same sign (-1, 0, 1) in
            both images of a pair.
        random_distances: (T, L, M) the same for T draws of a random part in each image.
        agreements: (P, L, M) how much more often the signs agree than those of unrelated changes
            would (Cohen's kappa): 1 always, 0 no more than by chance. A part that changes few
            features has a low distance whatever it is; not so a high agreement.
        random_agreements: (T, L, M) the same for the random parts.
        features: (L,) number of the layer's features.
        boxes: (P, N, 4) box (top, left, bottom, right), half-open, around each hidden part.
        random_boxes: (T, N, 4) the random parts.
        classes: (N,) the class watched.
        baseline_probabilities: (N,) its probability when nothing is hidden,
        probabilities: (P, N) when the part is,
        random_probabilities: (T, N) and when the random part is.
        patch_fill: (N, C) colour that hides.
        score_name: What the probabilities are: "probability", or plain "score".
    """

    parts: tuple[str, ...]
    layers: tuple[str, ...]
    distances: Floats
    random_distances: Floats
    agreements: Floats
    random_agreements: Floats
    features: Integers
    boxes: Integers
    random_boxes: Integers
    classes: Integers
    baseline_probabilities: Floats
    probabilities: Floats
    random_probabilities: Floats
    patch_fill: Floats
    score_name: str = "probability"

    def scores(self, measure: str = "distances") -> dict[str, NDArray[np.float64]]:
        """Table 1: for each part and "random", mean and population std over pairs, (L, 2).

        Args:
            measure: "distances" as in the paper, or "agreements".
        """
        if measure not in MEASURES:
            raise ValueError(f"Measures are {MEASURES}. Received: measure={measure!r}")
        rows = dict(zip(self.parts, getattr(self, measure).astype(float), strict=True))
        draws = getattr(self, f"random_{measure}").astype(float)
        if draws.size:
            rows[RANDOM] = np.moveaxis(draws, 0, 1).reshape(len(self.layers), -1)
        return {name: np.stack([row.mean(1), row.std(1)], 1) for name, row in rows.items()}

    def totals(self) -> dict[str, NDArray[np.float64]]:
        """The paper's raw double sum over ordered pairs, (L,), of each part (random: per draw)."""
        pairs = 2 * self.distances.shape[2]
        return {name: s[:, 0] * pairs * self.features for name, s in self.scores().items()}


def correspondence(
    model: keras.Model,
    images: Images,
    parts: Mapping[str, ArrayLike],
    layers: str | Sequence[str],
    patch_size: int | tuple[int, int] | None = None,
    boxes: ArrayLike | None = None,
    draws: int = 10,
    together: bool = False,
    fill_value: ArrayLike | str = 128.0,
    classes: ArrayLike | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
    softmax: bool | None = None,
    output: str | None = None,
    scores: bool | str = True,
) -> Correspondence:
    """Measures how alike a net's features change when the same part of each image is hidden.

    Args:
        model: Functional or Sequential classifier of (N, H, W, C) images.
        images: Two or more: (N, H, W, C) pixels, a folder of pictures or a `tf.data.Dataset`.
        parts: For each part of the object its place in every image: centres (N, 2) as (row,
            column), boxes (N, 4) as (top, left, bottom, right), half-open, or masks (N, H, W).
        layers: Name or names of the layers; the paper's are its fifth and its seventh.
        patch_size: Side or (height, width) of what hides a part given by its centre.
        boxes: (N, 4) or (4,) the objects, for the random parts; default: the whole images.
        draws: How many times a random part is drawn in every image; 0 for no control. It has the
            size of the first part's box.
        together: Whether a random part lies at the same place in all images (relative to their
            boxes), to tell what a part means from where it is: most eyes are at one height.
        fill_value: Colour that hides: a grey value, one value a channel, or "mean".
        classes: Whose probability to watch: a number for all images or one for each; default: the
            predicted class.
        seed: Of the random parts.
        batch_size: Images in memory at a time.
        progress: Whether to show a progress bar.
        softmax: Older than `scores`: True is "softmax", False "raw".
        output: Name of the output to watch, if the model has several.
        scores: What to make of it, as in `Predictor`: True, "softmax", "sigmoid" or "raw".

    Returns:
        The `Correspondence`.

    Raises:
        ValueError: Parts, images, boxes or layers don't fit one another.

    Example:
        >>> tiny = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Conv2D(4, 3, name="c"),
        ...                          keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> images = np.random.default_rng(0).uniform(0, 255, (3, 8, 12, 3))
        >>> found = correspondence(tiny, images, {"nose": [[4, 5], [3, 6], [5, 5]]}, "c", 3)
        >>> found.distances.shape, found.random_distances.shape
        ((1, 1, 3), (10, 1, 3))
    """
    images = check_images(model, images)
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    _check(images, layers, draws)
    masks = part_masks(parts, images.shape[:3], patch_size)
    part_boxes = np.array([[_bounds(mask) for mask in part] for part in masks])
    within = _objects(boxes, part_boxes[0], images.shape)
    chance = random_boxes(
        np.random.default_rng(seed), within, _sizes(part_boxes[0]), draws, together
    )
    fill = paint(images, fill_value)
    predictor = Predictor.of(model, layers, output, scores, softmax)
    whole, originals = predictor(images, batch_size)
    watched = class_of_each(classes, whole.argmax(1), whole.shape[1])
    each = np.arange(len(images))
    found: dict[str, list] = {"distances": [], "agreements": [], "probabilities": []}
    hidden = [*masks, *(_in_boxes(box, images.shape) for box in chance)]
    for mask in tqdm(hidden, desc="hiding", unit="part", disable=not progress):
        covered = np.where(mask[..., None], fill, images)
        seen, features = predictor(covered, batch_size)
        signs = [sign_changes(a, b) for a, b in zip(originals, features, strict=True)]
        found["distances"].append([pair_distances(s) for s in signs])
        found["agreements"].append([pair_agreements(s) for s in signs])
        found["probabilities"].append(seen[each, watched])
    return Correspondence(
        parts=tuple(parts),
        layers=layers,
        **_split(found, len(masks)),
        features=np.array([x[0].size for x in originals]),
        boxes=part_boxes,
        random_boxes=chance,
        classes=watched,
        baseline_probabilities=whole[each, watched],
        patch_fill=fill[:, 0, 0],
        score_name=predictor.score_name,
    )


def _split(found: dict[str, list], parts: int) -> dict[str, Floats]:
    """What was found of the parts and, under "random_…", of the random ones."""
    arrays = {name: np.array(rows, np.float32) for name, rows in found.items()}
    named = {name: array[:parts] for name, array in arrays.items()}
    return named | {f"random_{name}": array[parts:] for name, array in arrays.items()}


# === The measure ===


def sign_changes(original: ArrayLike, hidden: ArrayLike) -> NDArray[np.int8]:
    """The signs (N, d) of what the features lose, in {-1, 0, 1}."""
    difference = np.asarray(original) - np.asarray(hidden)
    return np.sign(difference).reshape(len(difference), -1).astype(np.int8)


def pair_distances(signs: ArrayLike) -> NDArray[np.float64]:
    """Share of unequal entries of each unordered pair of rows: their Hamming distance over d.

    Example:
        >>> pair_distances([[1, 0, -1, 1], [1, 0, -1, -1], [1, 0, 1, 1]])
        array([0.25, 0.25, 0.5 ])
    """
    signs = np.asarray(signs)
    return np.array([np.mean(a != b) for a, b in itertools.combinations(signs, 2)])


def pair_agreements(signs: ArrayLike) -> NDArray[np.float64]:
    """Cohen's kappa of each unordered pair of rows of signs; 1 for rows all alike.

    Example:
        >>> pair_agreements([[1, 0, -1, 1], [1, 0, -1, 1], [-1, 0, 1, 1]]).round(3)
        array([1. , 0.2, 0.2])
    """
    signs = np.asarray(signs)
    shares = np.stack([(signs == sign).mean(1) for sign in (-1, 0, 1)], 1)
    by_chance = [1 - a @ b for a, b in itertools.combinations(shares, 2)]
    distances = pair_distances(signs)
    return 1 - np.divide(distances, by_chance, out=np.zeros_like(distances), where=distances > 0)


# === Parts ===


def part_masks(
    parts: Mapping[str, ArrayLike],
    shape: tuple[int, int, int],
    patch_size: int | tuple[int, int] | None = None,
) -> list[Masks]:
    """Each part as masks (N, H, W), from centres (N, 2), boxes (N, 4) or masks (N, H, W).

    Raises:
        ValueError: A part has another shape, or lies outside an image.
    """
    if not parts:
        raise ValueError(f"Name at least one part to hide. Received: parts={parts!r}")
    masks = []
    for name, given in parts.items():
        places = np.asarray(given)
        if places.shape == shape:
            mask = places.astype(bool)
        elif places.shape == (shape[0], 4):
            mask = _in_boxes(places, shape)
        elif places.shape == (shape[0], 2) and patch_size is not None:
            mask = _in_boxes(_around(places, rectangle("patch_size", patch_size)), shape)
        else:
            raise ValueError(
                f"A part must have a place in each image: centres ({shape[0]}, 2) together with a "
                f"patch_size, boxes ({shape[0]}, 4) or masks {shape}. Received: parts['{name}'] "
                f"with shape={places.shape}, patch_size={patch_size!r}"
            )
        if not mask.any((1, 2)).all():
            raise ValueError(
                "A part must cover at least one pixel of each image. Received: "
                f"parts['{name}'] outside images {np.flatnonzero(~mask.any((1, 2))).tolist()}"
            )
        masks.append(mask)
    return masks


def random_boxes(
    rng: np.random.Generator,
    within: ArrayLike,
    sizes: ArrayLike,
    draws: int,
    together: bool = False,
) -> Integers:
    """Boxes of given sizes (N, 2), anywhere inside given boxes (N, 4): (draws, N, 4).

    `together` draws one place for all images, relative to their boxes.

    Example:
        >>> random_boxes(np.random.default_rng(0), [[2, 3, 6, 9]], [[4, 6]], draws=1).tolist()
        [[[2, 3, 6, 9]]]
    """
    within, sizes = np.asarray(within), np.asarray(sizes)
    places = rng.random((draws, 1 if together else len(within), 2))
    room = within[:, 2:] - within[:, :2] - sizes + 1
    corners = within[:, :2] + np.floor(places * room).astype(np.int64)
    return np.concatenate([corners, corners + sizes], 2)


def _around(centres: NDArray, size: tuple[int, int]) -> Integers:
    corners = np.rint(centres).astype(np.int64) - np.array(size) // 2
    return np.concatenate([corners, corners + size], 1)


def _in_boxes(boxes: NDArray, shape: tuple[int, ...]) -> Masks:
    top, left, bottom, right = (np.asarray(boxes)[:, i, None, None] for i in range(4))
    row, column = np.arange(shape[1])[:, None], np.arange(shape[2])
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


def _bounds(mask: Masks) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def _sizes(boxes: NDArray) -> NDArray:
    return boxes[:, 2:] - boxes[:, :2]


def _objects(boxes: ArrayLike | None, first: Integers, shape: tuple[int, ...]) -> Integers:
    """The box of the object in each image, in which the first part must find room."""
    given = (0, 0, *shape[1:3]) if boxes is None else np.asarray(boxes)
    fits = np.shape(given) in ((4,), (shape[0], 4))
    within = np.broadcast_to(given if fits else 0, (shape[0], 4)).astype(np.int64)
    inside = (within >= 0).all() and (within <= (*shape[1:3], *shape[1:3])).all()
    if not (fits and inside and (_sizes(within) >= _sizes(first)).all()):
        raise ValueError(
            f"The objects' boxes must be (top, left, bottom, right), shape (4,) or ({shape[0]}, "
            f"4), lie inside the images of {shape[1:3]} pixels and have room for the first part, "
            f"up to {_sizes(first).max(0).tolist()}. Received: boxes={boxes!r}"
        )
    return within


def _check(images: Floats, layers: tuple[str, ...], draws: int) -> None:
    if len(images) < 2:
        raise ValueError(
            f"Images are compared in pairs: at least 2 are needed. Received: {len(images)} images"
        )
    if not layers:
        raise ValueError(
            f"No features to compare. Expected one or more layers. Received: layers={layers!r}"
        )
    whole_number("draws", draws, low=0)

"""Tests that a heat map of a class must pass: deletion, insertion, and randomised weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from zfkeras.analysis.explanations import Settings, explainer
from zfkeras.data.inputs import Floats
from zfkeras.graph.copies import ORDERS, FlatCopy, learned_layers, randomized
from zfkeras.graph.predictor import Predictor

Integers = NDArray[np.int64]


def deletion_insertion(
    predictor: Predictor,
    image: Floats,
    heat: Floats,
    number: int,
    colour: Floats,
    fractions: Floats,
    batch_size: int = 32,
) -> tuple[Floats, Floats]:
    """Probability of a class with the hottest pixels hidden, and with only these shown.

    Args:
        predictor: The net.
        image: (H, W, C).
        heat: (H, W); equals are taken in row-major order.
        number: The class.
        colour: (C,) what hides.
        fractions: (S,) shares of the pixels.
        batch_size: Images at a time.

    Returns:
        Deletion (S,) and insertion (S,).
    """
    order = np.argsort(-heat, axis=None, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(heat.size)
    hottest = rank.reshape(heat.shape) < np.rint(fractions * heat.size)[:, None, None]
    hidden = np.where(hottest[..., None], colour, image)
    shown = np.where(hottest[..., None], image, colour)
    deletion, insertion = (predictor(x, batch_size).scores[:, number] for x in (hidden, shown))
    return deletion, insertion


def rank_correlation(first: ArrayLike, second: ArrayLike) -> Floats:
    """Spearman's correlation of each of N pairs of maps (N, H, W); 0 where a map is constant.

    Example:
        >>> rank_correlation([[[1, 2, 9]]], [[[5, 7, 8]]])
        array([1.], dtype=float32)
    """
    ranked = [np.stack([_ranks(x.ravel()) for x in np.asarray(maps)]) for maps in (first, second)]
    a, b = (ranks - ranks.mean(1, keepdims=True) for ranks in ranked)
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.divide((a * b).sum(1), size, out=np.zeros_like(size), where=size > 0).astype("f4")


def _ranks(values: NDArray) -> NDArray[np.float64]:
    """Ranks from 0 up; equals share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[which]


def randomization(
    model: keras.Model,
    maps: Mapping[str, Floats],
    images: Floats,
    classes: Integers,
    settings: Settings | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """How alike the maps of a net and of the same net with shuffled weights are.

    Args:
        model: Functional or Sequential classifier; copies of it are shuffled, not it.
        maps: {method: its heat maps (N, H, W)}.
        images: (N, H, W, C).
        classes: (N,) the classes explained.
        settings: How the maps are made.
        seed: Of the shuffling.
        progress: Whether to show a progress bar.

    Returns:
        "layers": their names, from the top down; "cascading" and "independent": (methods, N,
        layers) rank correlations, see `zfkeras.graph.copies.randomized`.
    """
    settings = settings or Settings()
    copy = FlatCopy.of(model, output=settings.output).model
    settings = replace(settings, output=None)
    flat = FlatCopy.of(copy, logits=True)
    layers = tuple(layer.name for layer in reversed(learned_layers(copy)))
    makers = {name: explainer(copy, name, settings, flat) for name in maps}
    found = {order: np.zeros((len(maps), len(images), len(layers)), np.float32) for order in ORDERS}
    bar = tqdm(total=2 * len(layers), desc="randomising", unit="net", disable=not progress)
    with bar:
        for order in ORDERS:
            for depth, _ in enumerate(randomized(copy, order, seed)):
                for row, (name, make) in enumerate(makers.items()):
                    again = make(images, classes)
                    found[order][row, :, depth] = rank_correlation(maps[name], again)
                bar.update()
    return {"layers": layers, **found}

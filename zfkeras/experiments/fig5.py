"""Fig. 5: how a net's layers and answers change as images are moved, enlarged and turned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zfkeras.analysis.invariance import Invariance, invariance
from zfkeras.image import Pictures
from zfkeras.report import invariance as report
from zfkeras.report.figures import class_name, save
from zfkeras.types import Json


def run(
    net: keras.Model,
    pictures: Pictures,
    folder: Path,
    layers: Sequence[str],
    class_names: Sequence[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Json:
    """Measures, draws and saves; returns what JSON should say.

    Args:
        net: The model.
        pictures: (N, H, W, 3) uint8.
        folder: Folder for invariance.npz, invariance.png and invariance-unit.png.
        layers: Layers to compare; the paper's are its first and seventh.
        class_names: Names of the model's classes.
        progress: Whether to show a progress bar.
        **options: As for `invariance`.
    """
    found = invariance(net, pictures, layers, progress=progress, **options)
    figures = {"picture": False, "picture_unit": True}
    paths = {
        key: str(
            save(
                report.invariance(found, pictures, class_names, unit),
                folder / f"invariance{'-unit' * unit}.png",
            )
        )
        for key, unit in figures.items()
    }
    arrays = found.save(folder / "invariance.npz")
    return {**paths, "arrays": str(arrays), "layers": summary(found, class_names)}


def summary(found: Invariance, class_names: Sequence[str] | None) -> Json:
    """Means over images: how far a small and the largest step take each layer, and the answer.

    "small" is the transform next to none, "largest" the one farthest from it (half a turn).
    """
    rows: Json = {
        "classes": [class_name(number, class_names) for number in found.classes],
        "p": found.baseline_probabilities.round(4).tolist(),
        "score_name": found.score_name,
    }
    for kind in dict.fromkeys(found.kinds.tolist()):
        points = np.flatnonzero(found.points(kind))
        size = _size(kind, found.amounts[points])
        moved = points[size > 0] if (size > 0).any() else points
        ends = {"small": np.argmin, "largest": np.argmax}
        chosen = {end: moved[pick(_size(kind, found.amounts[moved]))] for end, pick in ends.items()}
        rows[kind] = {
            name: {
                "amount": float(found.amounts[i]),
                "p": float(found.probabilities[:, i].mean().round(4)),
                "unit_distance": dict(
                    zip(found.layers, found.unit_distances[:, :, i].mean(0).tolist(), strict=True)
                ),
            }
            for name, i in chosen.items()
        }
    return rows


def _size(kind: str, amounts: np.ndarray) -> np.ndarray:
    """How far from nothing: from no shift, from a factor of 1, from the upright."""
    if kind == "scale":
        return np.abs(amounts - 1)
    if kind == "rotation":
        return 180 - np.abs(np.abs(amounts) % 360 - 180)
    return np.abs(amounts)

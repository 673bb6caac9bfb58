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


def run(
    net: keras.Model,
    pictures: Pictures,
    output: Path,
    layers: Sequence[str],
    class_names: Sequence[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Measures, draws and saves; returns what JSON should say.

    Args:
        net: The model.
        pictures: (N, H, W, 3) uint8.
        output: Folder for invariance.npz, invariance.png and invariance-unit.png.
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
                output / f"invariance{'-unit' * unit}.png",
            )
        )
        for key, unit in figures.items()
    }
    arrays = found.save(output / "invariance.npz")
    return {**paths, "arrays": str(arrays), "layers": summary(found, class_names)}


def summary(found: Invariance, class_names: Sequence[str] | None) -> dict[str, Any]:
    """Means over images: how far a small and the largest step take each layer, and the answer.

    "small" is the transform next to none, "largest" the one farthest from it.
    """
    rows: dict[str, Any] = {
        "classes": [class_name(number, class_names) for number in found.classes],
        "p": found.baseline_probabilities.round(4).tolist(),
    }
    for kind in dict.fromkeys(found.kinds.tolist()):
        points = np.flatnonzero(found.points(kind))
        distance = np.abs(found.amounts[points] - (1.0 if kind == "scale" else 0.0))
        order = points[np.argsort(distance, kind="stable")]
        small = next((i for i in order if not _is_nothing(found, i)), order[-1])
        rows[kind] = {
            name: {
                "amount": float(found.amounts[i]),
                "p": float(found.probabilities[:, i].mean().round(4)),
                "unit_distance": dict(
                    zip(found.layers, found.unit_distances[:, :, i].mean(0).tolist(), strict=True)
                ),
            }
            for name, i in (("small", small), ("largest", order[-1]))
        }
    return rows


def _is_nothing(found: Invariance, index: int) -> bool:
    return bool(found.amounts[index] == (1.0 if found.kinds[index] == "scale" else 0.0))

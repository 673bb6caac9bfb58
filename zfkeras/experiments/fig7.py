"""Fig. 7: hide each part of an image, and watch the net's strongest map and its answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zfkeras.analysis.occlusion import occlusion
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.analysis.painting import a_fifth, a_grid
from zfkeras.image import Pictures
from zfkeras.report import occlusion as drawing
from zfkeras.types import Json


def run(
    net: keras.Model,
    pictures: Pictures,
    folder: Path,
    layer: str,
    class_names: Sequence[str] | None = None,
    patch_size: int | None = None,
    strides: int | None = None,
    others: Pictures | None = None,
    progress: bool = False,
    **options: Any,
) -> Json:
    """Measures, draws and saves; returns what JSON should say.

    Args:
        net: The model.
        pictures: (N, H, W, 3) uint8.
        folder: Folder for fig7.npz, fig7-NUMBER.png and fig7-NUMBER-others.png: the rest of panel
            (c), other pictures above the same map's projections from them.
        layer: Whose strongest map to watch; the paper's is its fifth.
        class_names: Names of the model's classes.
        patch_size: Side of the occluder; default: a fifth of the image (method.md, Occlusion).
        strides: Between its places; default: 28 places a side (method.md, Occlusion).
        others: More pictures, to project the map of each picture from; default: `pictures`.
        progress: Whether to show a progress bar.
        **options: As for `occlusion`.
    """
    pictures = np.asarray(pictures)
    size = pictures.shape[1:3]
    found = occlusion(
        net,
        pictures,
        patch_size=patch_size or a_fifth(size),
        strides=strides or a_grid(size),
        layer=layer,
        others=others,
        progress=progress,
        **options,
    )
    pool = pictures if others is None else np.asarray(others)
    paths = [folder / f"fig7-{number + 1}.png" for number in range(len(pictures))]
    drawn = drawing.save_all(found, pictures, pool, paths, class_names)
    rows = [
        {
            "picture": str(picture),
            "others": None if sheet is None else str(sheet),
            **_told(found, number, class_names),
        }
        for number, (picture, sheet) in enumerate(drawn)
    ]
    return {
        "arrays": str(found.save(folder / "fig7.npz")),
        "layer": layer,
        "projection_error": found.projection_error,
        "images": rows,
    }


def _told(found: Occlusion, number: int, class_names: Sequence[str] | None) -> Json:
    """Where hiding hurts the class most and where it hurts the map most."""
    activation = found.activation[number]
    row, column = np.unravel_index(activation.argmin(), activation.shape)
    return {
        "class": drawing.watched(found, number, class_names),
        "p": float(found.baseline_response[number]),
        "lowest_p": float(found.response[number].min()),
        "lowest_p_box": list(drawing.worst_box(found, number)),
        "map": int(found.channel[number]),
        "map_total": float(found.baseline_activation[number]),
        "lowest_map_total": float(activation.min()),
        "lowest_map_centre": [int(found.rows[row]), int(found.columns[column])],
    }

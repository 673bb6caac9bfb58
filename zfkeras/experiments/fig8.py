"""Fig. 8: the pictures of the correspondence analysis, each part hidden, and random parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from zfkeras.analysis.correspondence import Correspondence, correspondence
from zfkeras.analysis.landmarks import Landmarks
from zfkeras.analysis.painting import a_fifth
from zfkeras.report.correspondence import masked_parts
from zfkeras.report.figures import class_name, save
from zfkeras.types import Json


def run(
    net: keras.Model,
    landmarks: Landmarks,
    folder: Path,
    layers: Sequence[str],
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> Json:
    """Hides, draws and saves; returns what JSON should say.

    Args:
        net: The model.
        landmarks: Pictures and their parts.
        folder: Folder for fig8.png.
        layers: As for `correspondence`.
        class_names: Names of the model's classes.
        **options: As for `measure`.
    """
    found = measure(net, landmarks, layers, **options)
    figure = masked_parts(found, landmarks.images, class_names)
    rows = [
        {
            "file": file,
            "class": class_name(found.classes[number], class_names),
            "p": float(found.baseline_probabilities[number]),
            "p_hidden": dict(
                zip(found.parts, found.probabilities[:, number].tolist(), strict=True)
            ),
            "p_random": found.random_probabilities[:, number].tolist(),
        }
        for number, file in enumerate(landmarks.files)
    ]
    return {"picture": str(save(figure, folder / "fig8.png")), "images": rows}


def measure(
    net: keras.Model,
    landmarks: Landmarks,
    layers: Sequence[str],
    patch_size: int | None = None,
    **options: Any,
) -> Correspondence:
    """Correspondence of landmarks, hidden by squares of a fifth of the image."""
    return correspondence(
        net,
        landmarks.images,
        landmarks.parts,
        layers,
        patch_size=patch_size or a_fifth(landmarks.images.shape[1:3]),
        boxes=landmarks.boxes,
        classes=landmarks.classes,
        **options,
    )

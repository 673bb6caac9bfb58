"""Table 1: does hiding an eye change features alike in every dog, and hiding random parts not?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zfkeras.analysis.correspondence import MEASURES, Correspondence
from zfkeras.analysis.landmarks import Landmarks
from zfkeras.experiments.fig8 import measure
from zfkeras.graph.predictor import Predictor
from zfkeras.report.correspondence import cover, scores, table, verdict
from zfkeras.report.figures import save
from zfkeras.types import Json

PAPER = {
    "layer 5": {"right eye": 0.067, "left eye": 0.069, "nose": 0.079, "random": 0.107},
    "layer 7": {"right eye": 0.069, "left eye": 0.068, "nose": 0.069, "random": 0.073},
}
"""The paper's means, for reading beside one's own: another net, other dogs."""


def run(
    net: keras.Model,
    landmarks: Landmarks,
    folder: Path,
    layers: Sequence[str],
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> Json:
    """Measures, draws and saves; returns what JSON should say.

    Args:
        net: The model.
        landmarks: Pictures and their parts.
        folder: Folder for table1.npz, table1.md and table1.png.
        layers: Layers to compare.
        seed: Of the random parts.
        progress: Whether to show a progress bar.
        **options: As for `measure`.
    """
    controls = {"anywhere": False, "same_place": True}
    found = {
        name: measure(net, landmarks, layers, together=t, seed=seed, progress=progress, **options)
        for name, t in controls.items()
    }
    main = found["anywhere"]
    head = {name: options[name] for name in ("scores", "output") if name in options}
    together = hiding_all(Predictor(net, **head), main, landmarks, seed, progress)
    figure, arrays = save(scores(main), folder / "table1.png"), main.save(folder / "table1.npz")
    result = {
        "picture": str(figure),
        "arrays": str(arrays),
        "paper": PAPER,
        "random_parts": {name: told(each) for name, each in found.items()},
        "hiding": hiding(main) | {"all parts": together},
    }
    (folder / "table1.md").write_text(_markdown(result), encoding="utf-8")
    return result | {"table": str(folder / "table1.md")}


def told(found: Correspondence) -> Json:
    """The table and what it says, by either measure."""
    return {
        measure: {
            "table": table(found, measure).splitlines(),
            "says": verdict(found, measure),
            "mean": {name: row[:, 0].tolist() for name, row in found.scores(measure).items()},
        }
        for measure in MEASURES
    }


def hiding(found: Correspondence) -> dict[str, dict[str, float]]:
    """Change of the class' probability, median over images (and draws), for each part."""
    random = np.median(found.random_probabilities - found.baseline_probabilities)
    drops = np.median(found.probabilities - found.baseline_probabilities, axis=1)
    return {
        name: {"part": float(drop), "random": float(random)}
        for name, drop in zip(found.parts, drops, strict=True)
    }


def hiding_all(
    predictor: Predictor, found: Correspondence, landmarks: Landmarks, seed: int, progress: bool
) -> dict[str, float]:
    """The same with all parts hidden at once, against as many random patches of the same area."""
    each = np.arange(len(landmarks.images))
    rng = np.random.default_rng(seed)
    boxes = np.moveaxis(found.boxes, 0, 1)
    draws = [
        np.stack([_apart(rng, image, landmarks.images.shape[1:3]) for image in boxes])
        for _ in range(max(1, len(found.random_boxes)))
    ]
    changes = [
        predictor(_covered(found, landmarks.images, places)).scores[each, found.classes]
        - found.baseline_probabilities
        for places in tqdm([boxes, *draws], desc="hiding all", disable=not progress)
    ]
    return {
        "part": float(np.median(changes[0])),
        "random": float(np.median(changes[1:])),
        "images_hurt_more": int((changes[0] < np.median(changes[1:], axis=0)).sum()),
        "images": len(each),
    }


def _covered(found: Correspondence, images: NDArray, boxes: NDArray) -> NDArray:
    covered = []
    for picture, places, colour in zip(images, boxes, found.patch_fill, strict=True):
        for box in places:
            picture = cover(picture, box, colour)
        covered.append(picture)
    return np.stack(covered)


def _apart(rng: np.random.Generator, boxes: NDArray, size: tuple[int, int]) -> NDArray:
    """Boxes of the same sizes at random places; apart where they were (they may overlap by as
    much as the given ones do, so that the area is the same)."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    wanted = _area(boxes, size)
    for _ in range(1000):
        corners = np.floor(rng.random((len(boxes), 2)) * (np.array(size) - sizes + 1)).astype(int)
        placed = np.concatenate([corners, corners + sizes], 1)
        if abs(_area(placed, size) - wanted) <= 0.02 * wanted:
            return placed
    raise ValueError(
        "Random patches of the parts' area do not fit into the image. Parts must cover less of "
        f"it. Received: {wanted} of {size[0] * size[1]} pixels hidden"
    )


def _area(boxes: NDArray, size: tuple[int, int]) -> int:
    hidden = np.zeros(size, bool)
    for top, left, bottom, right in boxes:
        hidden[top:bottom, left:right] = True
    return int(hidden.sum())


def _markdown(result: Json) -> str:
    titles = {
        "distances": "Mean feature sign change, as in the paper (low: the part corresponds)",
        "agreements": "Agreement beyond chance, Cohen's kappa (high: the part corresponds)",
    }
    places = {
        "anywhere": "random parts anywhere, in each image anew",
        "same_place": "random parts at the same place in all images",
    }
    lines = []
    for where, by_measure in result["random_parts"].items():
        for name, found in by_measure.items():
            lines += [f"{titles[name]}; {places[where]}:", "", *found["table"], ""]
            lines += [f"- {sentence}" for sentence in found["says"]] + [""]
    lines += ["Change of the class' probability when hidden (median), and of random patches:", ""]
    for name, drop in result["hiding"].items():
        lines.append(f"- {name}: {drop['part']:+.3f}, random {drop['random']:+.3f}")
    return "\n".join(lines) + "\n"

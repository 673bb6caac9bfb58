"""Where the parts of an object are in each of some pictures: landmarks from a JSON file."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zfkeras import image
from zfkeras.fitting import placement
from zfkeras.types import Json


@dataclass(frozen=True, eq=False)
class Landmarks:
    """N pictures and the place of each part in them, as `correspondence` takes them.

    Attributes:
        images: (N, H, W, 3) uint8.
        parts: For each part its centres (N, 2) as (row, column) or its boxes (N, 4).
        classes: (N,) classes of the pictures, or None.
        boxes: (N, 4) the objects, or None.
        files: The pictures' names.
    """

    images: NDArray[np.uint8]
    parts: dict[str, NDArray[np.float64]]
    classes: NDArray[np.int64] | None
    boxes: NDArray[np.int64] | None
    files: tuple[str, ...]


def load_landmarks(
    path: str | os.PathLike[str],
    image_size: tuple[int, int],
    folder: str | os.PathLike[str] | None = None,
    channels: int = 3,
    fit: str = "crop",
) -> Landmarks:
    """Reads a list of pictures with their parts, and fits both to the size a net takes.

    The file holds ``[{"file": "a.png", "parts": {"nose": [row, column], …}, "class": 153,
    "box": [top, left, bottom, right]}, …]``, in pixels of the pictures; parts are centres or
    boxes; "class" and "box" may be left out of all.

    Args:
        path: The JSON file.
        image_size: (height, width) that pictures are fitted to.
        folder: Where the pictures are; default: beside the file.
        channels: 1 for pictures in grey.
        fit: How the pictures are fitted: "crop", "stretch" or "pad", as in `zfkeras.image.fit`.

    Raises:
        ValueError: The file is no such list, or its entries don't name the same parts.
    """
    entries = _entries(path)
    root = Path(path).parent if folder is None else Path(folder)
    pictures = [image.load(root / entry["file"]) for entry in entries]
    moves = [placement(picture.shape[:2], image_size, fit) for picture in pictures]
    boxes = _each(entries, "box", path)
    classes = _each(entries, "class", path)
    fitted = None if boxes is None else np.stack(_moved(boxes, moves)).round().astype(np.int64)
    limits = np.tile(image_size, 2)
    images = np.stack([image.fit(picture, image_size, fit) for picture in pictures])
    return Landmarks(
        image.to_grey(images) if channels == 1 else images,
        {
            name: np.stack(_moved([entry["parts"][name] for entry in entries], moves))
            for name in entries[0]["parts"]
        },
        None if classes is None else np.array(classes, np.int64),
        None if fitted is None else np.clip(fitted, 0, limits),
        tuple(entry["file"] for entry in entries),
    )


def _entries(path: str | os.PathLike[str]) -> list[Json]:
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        names = [sorted(entry["parts"]) for entry in entries if entry["file"]]
        lengths = {len(place) for entry in entries for place in entry["parts"].values()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if not names or not names[0] or any(other != names[0] for other in names):
        raise _unusable(path, "the pictures do not all name the same parts")
    if not lengths <= {2, 4}:
        raise _unusable(path, f"places of {sorted(lengths)} numbers")
    return entries


def _unusable(path: str | os.PathLike[str], reason: str) -> ValueError:
    return ValueError(
        'The landmarks must be a JSON list of {"file": …, "parts": {name: [row, column] or [top, '
        f"left, bottom, right]}}}}. Received: path={os.fspath(path)!r} ({reason})"
    )


def _each(entries: list[Json], key: str, path: str | os.PathLike[str]) -> list | None:
    """What every entry says under `key`, or None where none says anything."""
    known = [entry[key] for entry in entries if key in entry]
    if known and len(known) < len(entries):
        raise _unusable(path, f"{len(known)} of {len(entries)} pictures have {key!r}")
    return known or None


def _moved(places: Sequence[NDArray], moves: Sequence[tuple[NDArray, NDArray]]) -> list[NDArray]:
    """Centres (of pixels) or boxes (edges between pixels) in the fitted pictures."""
    found = []
    for place, (scale, shift) in zip(places, moves, strict=True):
        half = 0.5 if len(place) == 2 else 0.0
        moved = (np.array(place, float) + half).reshape(-1, 2) * scale + shift - half
        found.append(moved.ravel())
    return found

"""The site's data and page: everything that is not a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zfkeras.analysis.top_index import class_name
from zfkeras.analysis.top_result import TopActivations
from zfkeras.atlas.sheets import DrawnMap
from zfkeras.files import write_atomically
from zfkeras.regions.receptive_field import ReceptiveField
from zfkeras.report import page
from zfkeras.types import Json

CLASSES_NAMED, PREVIEWED = 3, 6


def place(number: int, layer: str) -> str:
    """The layer's name in file names; numbered, for paths of nested models may clash."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in layer)
    return f"{number:02d}-{plain}"


def write_layer(folder: Path, stem: str, top: TopActivations, drawn: Sequence[DrawnMap]) -> str:
    """Writes what the site knows of a layer's maps; returns where."""
    sheets = {one.mosaics.file: asdict(one.mosaics) for one in drawn}
    columns, class_means = _columns(top), np.nan_to_num(top.statistics.class_mean)
    maps = [
        {"map": one.map}
        | {name: _number(column[one.map]) for name, column in columns.items()}
        | {
            "classes": _classes(top, class_means[:, one.map]),
            "histogram": _histogram(top, one.map),
            "sheet": one.sheet and asdict(one.sheet),
            "mosaic": [one.mosaics.file, one.column],
            "units": _units(top, one),
        }
        for one in drawn
    ]
    _script(folder / f"data/{stem}.js", top.layer, {"maps": maps, "mosaics": sheets})
    return f"data/{stem}.js"


def _columns(top: TopActivations) -> dict[str, np.ndarray]:
    """Numbers of all maps."""
    known = top.statistics
    return {
        "maximum": known.maximum,
        "minimum": known.minimum,
        "mean": known.mean,
        "firing": known.firing_share,
        "selectivity": known.selectivity,
    }


def write_index(
    folder: Path,
    title: str,
    results: Mapping[str, TopActivations],
    layers: Sequence[Json],
    shown: Mapping[int, list[str]],
    image_size: Sequence[int],
) -> Path:
    """Writes the page, its script, and what it knows of the layers and images."""
    some = next(iter(results.values()))
    index = {
        "title": title,
        "images": int(some.statistics.images),
        "k": some.values.shape[1],
        "size": list(image_size),
        "layers": list(layers),
        "pictures": {str(key): shown[key] for key in sorted(shown)},
    }
    _script(folder / "data/index.js", "", index)
    return page.write(folder / "index.html", "atlas.html", title=title)


def about(
    top: TopActivations,
    size: Sequence[int | None],
    field: ReceptiveField | None,
    why_whole: str,
    drawn: Sequence[DrawnMap],
) -> Json:
    """What the overview says of a layer; `size` is (height, width) of its maps.

    `why_whole` says why its winners are shown with whole images, where that is not their nature.
    """
    strongest = sorted(
        (one for one in drawn if one.sheet), key=lambda one: (-top.values[one.map, 0], one.map)
    )
    return {
        "name": top.layer,
        "maps": len(top.values),
        "shown": len(drawn),
        "dead": int(top.statistics.is_dead.sum()),
        "size": list(size),
        "field": None if field is None else list(field.size),
        "jump": None if field is None else list(field.jump),
        "why": why_whole,
        "preview": [
            {"map": one.map, "mosaics": asdict(one.mosaics), "column": one.column}
            for one in strongest[:PREVIEWED]
        ],
    }


def pictures(top: TopActivations, drawn: Sequence[DrawnMap]) -> dict[int, list[str]]:
    """{key: [file name, class]} of the images shown."""
    found = {}
    for one in drawn:
        for rank in range(len(one.boxes)):
            label = class_name(top, int(top.labels[one.map, rank]))
            found[int(top.keys[one.map, rank])] = [str(top.files[one.map, rank]), label]
    return found


def picture_file(key: int) -> str:
    """Where the site keeps an image of the data set."""
    return f"images/{key:07d}.jpg"


def _units(top: TopActivations, drawn: DrawnMap) -> list[list[Any]]:
    """[key, activation, row, column, top, left, bottom, right] of each unit shown."""
    return [
        [
            int(top.keys[drawn.map, rank]),
            _number(top.values[drawn.map, rank]),
            *top.positions[drawn.map, rank].tolist(),
            *box,
        ]
        for rank, box in enumerate(drawn.boxes)
    ]


def _classes(top: TopActivations, means: np.ndarray) -> list[list[Any]]:
    """The classes that excite a map most, with its mean over their images."""
    order = np.argsort(-means, kind="stable")[:CLASSES_NAMED]
    return [[class_name(top, int(one)), _number(means[one])] for one in order if means[one] > 0]


def _histogram(top: TopActivations, channel: int) -> Json:
    """The bins from the first to the last that is not empty; their width is a power of two."""
    counts = top.statistics.histogram[channel]
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    edges = top.statistics.edges[channel]
    return {
        "start": float(edges[first]),
        "width": float(edges[1] - edges[0]),
        "counts": counts[first : last + 1].tolist(),
    }


def _number(value: float) -> float | None:
    """For JSON, in six digits; None for what is no finite number."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _script(path: Path, name: str, content: Json | list) -> Path:
    """JSON in a script, since a page that was opened from a file may not fetch JSON."""
    arguments = f"{json.dumps(name)}, {json.dumps(content, separators=(',', ':'))}"
    return write_atomically(path, f"atlas.take({arguments});\n".encode())

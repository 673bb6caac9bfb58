"""Results of a search as tables: one row per unit, one row per feature map."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfkeras.analysis.top_result import TopActivations
from zfkeras.files import write_atomically

UNITS = ("layer", "map", "rank", "value", "row", "column", "key", "file", "class")
MAPS = (
    "layer",
    "map",
    "images",
    "mean",
    "minimum",
    "maximum",
    "firing_share",
    "selectivity",
    "best_class",
)


def write_units(results: Mapping[str, TopActivations], path: str | os.PathLike[str]) -> Path:
    """Writes the strongest units as a CSV table, whole or not at all.

    Columns: layer; map (from 0); rank (from 0: the strongest); value: the activation; row and
    column of the unit in its map; key: number of the image in the data set; file: the image's,
    empty without files; class: its class' name, or number, empty without labels.
    """
    rows = (row for top in results.values() for row in _unit_rows(top))
    return _write(path, UNITS, rows)


def write_maps(results: Mapping[str, TopActivations], path: str | os.PathLike[str]) -> Path:
    """Writes what the data set does to each feature map as a CSV table, whole or not at all.

    Columns: layer; map; images: how many were seen; mean, minimum and maximum of the images'
    strongest activations; firing_share: share of the images where that is above zero; selectivity
    (0..1) and best_class: see `MapStatistics`, empty without labels.
    """
    rows = (row for top in results.values() for row in _map_rows(top))
    return _write(path, MAPS, rows)


def class_name(top: TopActivations, label: int) -> str:
    """A class' name, its number if it has none, nothing if there is no class."""
    if label < 0:
        return ""
    return top.class_names[label] if label < len(top.class_names) else str(label)


def _unit_rows(top: TopActivations) -> Iterable[Sequence[Any]]:
    for channel, rank in np.argwhere(top.keys >= 0).tolist():
        at = channel, rank
        yield (
            top.layer,
            channel,
            rank,
            top.values[at],
            *top.positions[at],
            top.keys[at],
            top.files[at],
            class_name(top, int(top.labels[at])),
        )


def _map_rows(top: TopActivations) -> Iterable[Sequence[Any]]:
    known = top.statistics
    mean, share, selectivity = known.mean, known.firing_share, known.selectivity
    best = known.best_class
    for channel in range(len(mean)):
        yield (
            top.layer,
            channel,
            known.images,
            f"{mean[channel]:.9g}",
            known.minimum[channel],
            known.maximum[channel],
            f"{share[channel]:.9g}",
            "" if np.isnan(selectivity[channel]) else f"{selectivity[channel]:.9g}",
            class_name(top, int(best[channel])),
        )


def _write(
    path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Path:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return write_atomically(path, text.getvalue().encode())

"""The value that a search keeps: the strongest activations so far, and how two of them merge."""

import dataclasses
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zfkeras.analysis.map_statistics import MapStatistics, statistics_of
from zfkeras.files import write_atomically
from zfkeras.results import Result

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True, eq=False, repr=False)
class TopActivations(Result):
    """The k strongest units of each of a layer's C feature maps, at most one per image.

    Stronger goes before weaker, of equals the lower image key. Where a map has fewer than k
    images the rest is missing: value -inf, position, key and label -1, file "".

    Attributes:
        layer: Name of the layer.
        values: (C, k) float32, descending.
        positions: (C, k, 2) int32: (row, column) of the unit in its map, the first among equals
            in row-major order; (0, 0) for dense layers.
        keys: (C, k) int64: number of the image in its data set, from 0.
        labels: (C, k) int64: class of the image; -1 without labels.
        files: (C, k) str: its file, "" without files.
        statistics: What all images together did to the maps: histogram, mean, selectivity…
        class_names: Name of each label; () if unknown.
        seen: (M, 2) int64: the images searched, as disjoint ranges of keys [start, stop), sorted.
        skipped: (S,) int64: keys among them of images that could not be read, sorted.
        cardinality: Number of images in the data set, -1 if unknown.
        origin: Stands for the model, the data set, its preprocessing and the batch size; only
            equals can merge.
    """

    layer: str
    values: Floats
    positions: Integers
    keys: Integers
    labels: Integers
    files: NDArray[np.str_]
    statistics: MapStatistics
    class_names: tuple[str, ...]
    seen: Integers
    skipped: Integers
    cardinality: int
    origin: str

    _parts: ClassVar = {"statistics": MapStatistics}

    @property
    def is_complete(self) -> bool:
        """Whether all images of the data set were searched; False if their number is unknown."""
        return self.seen.tolist() == [[0, self.cardinality]]

    def merge(self, other: "TopActivations") -> "TopActivations":
        """The strongest of both, exactly as if one search had seen all their images.

        Associative, commutative, and idempotent: merging what is already in changes nothing.

        Raises:
            ValueError: They are of different layers, models, data sets or k, or have some images
                in common without one holding all of the other's.
        """
        for name in ("layer", "origin", "cardinality", "class_names"):
            _check_same(self, other, name)
        if self.values.shape != other.values.shape:
            raise ValueError(
                "Only results with the same number of maps and the same k can merge. "
                f"Received: values.shape={self.values.shape} and {other.values.shape}"
            )
        both = {
            name: np.concatenate([getattr(self, name), getattr(other, name)], axis=1)
            for name in _MISSING
        }
        return dataclasses.replace(
            self,
            **_ranked(both, self.values.shape[1]),
            statistics=self._merged_statistics(other),
            seen=_union(self.seen, other.seen),
            skipped=np.union1d(self.skipped, other.skipped),
        )

    def _merged_statistics(self, other: "TopActivations") -> MapStatistics:
        """Sums of both, unless one's images are among the other's."""
        mine, others = _length(self.seen), _length(other.seen)
        common = mine + others - _length(_union(self.seen, other.seen))
        if common == others:
            return self.statistics
        if common == mine:
            return other.statistics
        if common:
            raise ValueError(
                "Results can merge if their images are different, or if one's are among the "
                f"other's; these have only {common} in common. "
                f"Received: seen={self.seen.tolist()} and {other.seen.tolist()}"
            )
        return self.statistics.merge(other.statistics)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes everything to an .npz file, whole or not at all; see `save_results`."""
        return save_results({self.layer: self}, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TopActivations":
        """Reads the result of one layer that `save` wrote.

        Raises:
            ValueError: The file holds no result, or those of several layers.
        """
        results = load_results(path)
        if len(results) != 1:
            raise ValueError(
                "This file holds several layers; load_results reads them all. "
                f"Received: path={os.fspath(path)!r} with {', '.join(results)}"
            )
        return next(iter(results.values()))

    @staticmethod
    def load_all(path: str | os.PathLike[str]) -> "dict[str, TopActivations]":
        """{layer: result} of a file that a search, `save_results` or `save` wrote.

        Raises:
            ValueError: The file holds no results of a search.
        """
        return load_results(path)


_MISSING: dict[str, Any] = {
    "values": -np.inf,
    "positions": -1,
    "keys": -1,
    "labels": -1,
    "files": "",
}


def nothing(layer: str, maps: int, k: int, classes: int = 0, **origin: Any) -> TopActivations:
    """The result of having searched no image yet.

    Args:
        layer: Name of the layer.
        maps: C.
        k: Number of units to keep for each map.
        classes: K, if known.
        **origin: `class_names`, `cardinality` and `origin` of the result.
    """
    return TopActivations(
        layer,
        np.full((maps, k), -np.inf, np.float32),
        np.full((maps, k, 2), -1, np.int32),
        np.full((maps, k), -1, np.int64),
        np.full((maps, k), -1, np.int64),
        np.full((maps, k), "", np.str_),
        statistics_of(np.zeros((0, maps), np.float32), np.zeros(0, np.int64), classes),
        seen=np.zeros((0, 2), np.int64),
        skipped=np.zeros(0, np.int64),
        **origin,
    )


def _check_same(a: TopActivations, b: TopActivations, name: str) -> None:
    if getattr(a, name) != getattr(b, name):
        raise ValueError(
            "Only results of one layer of one model over one data set, cut and batched alike, can "
            f"merge. Received: {name}={getattr(a, name)!r} and {getattr(b, name)!r}"
        )


def _ranked(entries: dict[str, Any], k: int) -> dict[str, Any]:
    """The first k of (C, n) entries: strongest first, of equals the lower key, each image once."""
    values, keys = entries["values"], entries["keys"]
    order = np.lexsort((keys, -values), axis=1)
    keys = np.take_along_axis(keys, order, 1)
    repeated = np.zeros(keys.shape, bool)  # an image has one value, so its entries are neighbours
    repeated[:, 1:] = keys[:, 1:] == keys[:, :-1]
    last = np.argsort(repeated, axis=1, kind="stable")[:, :k]
    order, repeated = (np.take_along_axis(x, last, 1) for x in (order, repeated))

    def chosen(name: str, entry: np.ndarray) -> np.ndarray:
        wide = (..., None) if entry.ndim == 3 else ...
        return np.where(
            repeated[wide], _MISSING[name], np.take_along_axis(entry, order[wide], 1)
        ).astype(entry.dtype)

    return {name: chosen(name, entry) for name, entry in entries.items()}


def _union(a: Integers, b: Integers) -> Integers:
    """The union of two sets of ranges [start, stop), as few of them as can be."""
    merged: list[list[int]] = []
    for start, stop in sorted([*a.tolist(), *b.tolist()]):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return np.array(merged, np.int64).reshape(-1, 2)


def _length(ranges: Integers) -> int:
    return int((ranges[:, 1] - ranges[:, 0]).sum())


# === Results of several layers ===

Results = dict[str, TopActivations]


def merge_results(first: Mapping[str, TopActivations], *others: Mapping) -> Results:
    """Merges the results of a search for each layer; see `TopActivations.merge`.

    Raises:
        ValueError: They are not of the same layers, or a layer's results can't merge.
    """
    merged = dict(first)
    for other in others:
        if set(other) != set(merged):
            raise ValueError(
                "Only results of the same layers can merge. "
                f"Received: {', '.join(merged)} and {', '.join(other)}"
            )
        merged = {layer: top.merge(other[layer]) for layer, top in merged.items()}
    return merged


def save_results(results: Mapping[str, TopActivations], path: str | os.PathLike[str]) -> Path:
    """Writes the results of a search to one .npz file, whole or not at all.

    The file holds an array "LAYER/FIELD" for each field of `TopActivations` and of its
    statistics. The same results make the same bytes.
    """
    arrays: dict[str, Any] = {
        f"{layer}/{name}": array for layer, top in results.items() for name, array in _arrays(top)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return write_atomically(path, buffer.getvalue())


def load_results(path: str | os.PathLike[str]) -> Results:
    """Reads what `save_results` wrote, without unpickling.

    Raises:
        ValueError: The file holds no results of a search.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            layers = dict.fromkeys(name.rpartition("/")[0] for name in file)
            return {layer: _from_arrays(layer, file) for layer in layers}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            "This file holds no top activations. Expected an .npz file written by save_results or "
            f"TopActivations.save. Received: path={os.fspath(path)!r}"
        ) from error


_COUNTS = [field.name for field in dataclasses.fields(MapStatistics)]


def _arrays(top: TopActivations) -> Iterator[tuple[str, np.ndarray]]:
    for field in dataclasses.fields(top):
        if field.name == "statistics":
            yield from ((name, np.asarray(getattr(top.statistics, name))) for name in _COUNTS)
        elif field.name != "layer":
            array = np.asarray(getattr(top, field.name))
            # A longest name that has been merged away must not leave its width behind.
            is_text = array.dtype.kind == "U" and array.size
            yield field.name, np.array(array.tolist(), np.str_) if is_text else array


def _from_arrays(layer: str, file: Mapping[str, np.ndarray]) -> TopActivations:
    counts = MapStatistics(**{name: file[f"{layer}/{name}"] for name in _COUNTS})
    names = {field.name for field in dataclasses.fields(TopActivations)} - {"layer", "statistics"}
    found: dict[str, Any] = {name: file[f"{layer}/{name}"] for name in names}
    found["class_names"] = tuple(found["class_names"].tolist())
    found["cardinality"] = int(found["cardinality"])
    found["origin"] = str(found["origin"])
    return TopActivations(layer=layer, statistics=counts, **found)

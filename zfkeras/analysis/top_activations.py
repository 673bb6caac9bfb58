"""The strongest units of every feature map of a data set, in one pass (method.md, Strongest units).

What the pass keeps is a small value, `TopActivations` for each layer, that merges exactly: it is
saved as it goes, a killed search goes on from it, and machines that share a data set merge theirs.
"""

import hashlib
import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from zfkeras.analysis.map_statistics import statistics_of
from zfkeras.analysis.top_merge import added_by, searched_without_units
from zfkeras.analysis.top_result import (
    Results,
    TopActivations,
    load_results,
    merge_results,
    nothing,
    save_results,
)
from zfkeras.analysis.top_search import Searcher
from zfkeras.data.stream import Batch, Dataset, Stream, stream
from zfkeras.fitting import TESTED
from zfkeras.graph.feature_layers import convolutions
from zfkeras.graph.walking import Step
from zfkeras.validate import whole_number

__all__ = [
    "TopActivations",
    "convolutions",
    "load_results",
    "merge_results",
    "save_results",
    "top_activations",
]


def top_activations(
    model: keras.Model,
    dataset: Dataset,
    layers: Sequence[str] | None = None,
    k: int = 9,
    batch_size: int = 32,
    shard: tuple[int, int] = (0, 1),
    path: str | os.PathLike[str] | None = None,
    save_every: int = 100,
    scale: float = TESTED,
    progress: bool = False,
) -> Results:
    """Finds the k strongest units of each feature map over a data set, at most one per image.

    One pass, memory flat in the number of images. Of equal activations the one of the lower
    image key counts, within an image the first in row-major order.

    Inside `with strategy.scope():` of a `tf.distribute` strategy every replica takes batches.

    Args:
        model: Functional or Sequential Keras model of one image input.
        dataset: an array (N, H, W, 3), a `tf.data.Dataset` of images, of (image, label) or of
            (image, label, file name), batched or not, a `Source`, or the path of a folder of
            pictures. Pictures of a source or folder are resized to cover `scale` times the model's
            input, and its centre is cut out; those that can't be read are skipped and named in
            the result. Everything else must have the model's size.
        layers: names of layers with feature maps (or dense: maps of one unit); None for all
            convolutions.
        k: number of units to keep of each map. Of a data set with fewer images the rest is
            missing: value -inf, key -1.
        batch_size: images at a time. The last batch is padded: each is computed alike, so that
            results are equal to the bit however the data set is sharded or interrupted.
        shard: (i, n): search only the i-th of n equal parts of the data set; `merge_results`
            joins them.
        path: .npz file to keep the result in: written every `save_every` batches and at the end;
            if it exists, the search goes on from it.
        save_every: batches between two savings.
        scale: see `dataset`.
        progress: whether to show a progress bar.

    Returns:
        {layer: TopActivations}, in the order of `layers`.

    Raises:
        TypeError: `dataset` is nothing of the above.
        ValueError: No such layer, or one without maps; an empty data set; images that don't fit
            the model; NaN or infinite activations; a `path` that holds another search.

    Example:
        >>> pixels = keras.Input((12, 10, 3))
        >>> maps = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(pixels)
        >>> images = np.random.default_rng(0).uniform(0, 255, (20, 12, 10, 3)).astype("float32")
        >>> top = top_activations(keras.Model(pixels, maps), images, layers=["conv1"], k=3)["conv1"]
        >>> top.values.shape, top.positions.shape, top.keys.shape, top.statistics.mean.shape
        ((4, 3), (4, 3, 2), (4, 3), (4,))
    """
    batch_size = whole_number("batch_size", batch_size)
    searcher = Searcher.of(model, _layers(model, layers), whole_number("k", k))
    row = stream(dataset, searcher.graph.shapes[0][1:], scale, progress)
    start, stop = _part(row, shard, batch_size)
    results = _empty_results(searcher, row, batch_size)
    if path is not None and Path(path).exists():
        results = _restored(path, results)
    begin = _first_unseen(results, start)
    bar = tqdm(
        desc="searching",
        total=math.ceil((stop - start) / batch_size) if stop >= 0 else None,
        initial=math.ceil((begin - start) / batch_size),
        unit="batch",
        disable=not progress,
    )
    saver = _Saver(path, whole_number("save_every", save_every))
    with bar:
        for group in _grouped(row, batch_size, begin, stop, searcher.replicas):
            results, begin = _searched(searcher, results, group, begin)
            bar.update(len(group))
            saver.count(len(group), results)
    if stop > begin:  # the last images can't be read
        results = _with_rest(results, begin, stop)
    if begin == 0 and stop < 0:
        raise ValueError(
            f"The data set is empty; at least one image is needed. Received: dataset={row.identity}"
        )
    saver.save(results)
    _report_skipped(results, row)
    return results


# === Checking the input ===


def _layers(model: keras.Model, layers: Sequence[str] | None) -> list[str]:
    names = [layers] if isinstance(layers, str) else layers
    names = convolutions(model) if names is None else list(dict.fromkeys(names))
    if not names:
        raise ValueError(
            "At least one layer must be named; the default is every convolution, if there is any. "
            f"Received: layers={layers!r} for model '{model.name}'"
        )
    return names


def _part(row: Stream, shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    """First key and end (-1: unknown) of a shard, which is of whole batches."""
    part, parts = shard
    if not 0 <= part < parts:
        raise ValueError(
            f"`shard` must be (i, n), the i-th of n parts with i = 0 to n - 1. Received: {shard=}"
        )
    if parts == 1:
        return 0, row.cardinality
    if row.cardinality < 0:
        raise ValueError(
            "Only a data set of known length can be sharded; tf.data.experimental."
            f"assert_cardinality tells it. Received: {shard=}, dataset={row.identity}"
        )
    batches = math.ceil(row.cardinality / batch_size)
    ends = (min(row.cardinality, batches * i // parts * batch_size) for i in (part, part + 1))
    first, stop = ends
    return first, stop


# === What is known so far ===


def _empty_results(searcher: Searcher, row: Stream, batch_size: int) -> Results:
    digests = {step.path: _digest(step) for step in searcher.steps}

    def origin(layer: str) -> str:
        below = searcher.graph.steps_to(searcher.values[layer])
        # Not their names, which Keras numbers anew in every process.
        steps = [(digests[step.path], searcher.graph.shapes[step.outputs[0]]) for step in below]
        facts = [steps, row.identity, searcher.graph.shapes[0], batch_size]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    return {
        layer: nothing(
            layer,
            maps,
            searcher.k,
            len(row.class_names),
            class_names=row.class_names,
            cardinality=row.cardinality,
            origin=origin(layer),
        )
        for layer, maps in searcher.maps.items()
    }


def _digest(step: Step) -> str:
    """Stands for what a layer does."""
    operation = step.operation
    digest = hashlib.sha256(type(operation).__name__.encode())
    for variable in getattr(operation, "variables", ()):
        weights = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        if not np.isfinite(weights.astype(np.float32)).all():
            raise ValueError(
                "A net with NaN or infinite weights has no activations to rank. "
                f"Received: such a weight '{variable.name}' in layer '{step.path}'"
            )
        digest.update(weights.tobytes())
    return digest.hexdigest()


def _restored(path: str | os.PathLike[str], results: Results) -> Results:
    """What a file knows already, if it is of this search."""
    stored = load_results(path)
    try:
        return {layer: top.merge(stored[layer]) for layer, top in results.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(
            "The file holds another search. Allowed is that of the same model, layers, data set, k "
            f"and batch_size, to go on with it, or a new file ({error}). "
            f"Received: path={os.fspath(path)!r}"
        ) from error


def _first_unseen(results: Results, start: int) -> int:
    """The first key from `start` on that was not searched."""
    ranges = next(iter(results.values())).seen.tolist()
    return next((stop for first, stop in ranges if first <= start < stop), start)


class _Saver:
    """Saves results now and then, if there is a file to save to."""

    def __init__(self, path: str | os.PathLike[str] | None, every: int) -> None:
        self._path, self._every, self._unsaved = path, every, 0

    def count(self, batches: int, results: Results) -> None:
        self._unsaved += batches
        if self._unsaved >= self._every:
            self.save(results)

    def save(self, results: Results) -> None:
        if self._path is not None:
            save_results(results, self._path)
        self._unsaved = 0


# === The pass ===


def _grouped(
    row: Stream, batch_size: int, start: int, stop: int, size: int
) -> Iterator[list[Batch]]:
    """The batches, `size` at a time; the last time perhaps fewer."""
    if start == stop:
        return
    batches = row.batches(batch_size, start, stop)
    yield from iter(lambda: list(itertools.islice(batches, size)), [])


def _searched(
    searcher: Searcher, results: Results, group: list[Batch], start: int
) -> tuple[Results, int]:
    """`results` with those of some batches, and the key after them."""
    weakest = {layer: (top.values[:, -1], top.keys[:, -1]) for layer, top in results.items()}
    inputs = [(batch.images, batch.keys) for batch in group]
    while len(inputs) < searcher.replicas:  # no replica goes without, but these keys say padding
        inputs.append((group[0].images, np.full_like(group[0].keys, -1)))
    for batch, found in zip(group, searcher(inputs, weakest), strict=False):
        stop = int(batch.keys.max()) + 1
        results = {
            layer: top.merge(added_by(top, batch, found[layer], start, stop))
            for layer, top in results.items()
        }
        start = stop
    return results, start


def _with_rest(results: Results, start: int, stop: int) -> Results:
    """`results` after images that all could not be read."""
    none = np.zeros(0, np.int64)

    def rest(top: TopActivations) -> TopActivations:
        peaks = np.zeros((0, len(top.values)), np.float32)
        return searched_without_units(top, start, stop, none, statistics_of(peaks, none))

    return {layer: top.merge(rest(top)) for layer, top in results.items()}


def _report_skipped(results: Results, row: Stream) -> None:
    """Names the images that could not be read."""
    top = next(iter(results.values()))
    if not len(top.skipped):
        return
    some = [row.why_skipped(int(key)) for key in top.skipped[:10]]
    listed = "; ".join(f"{skip.name} ({skip.reason})" for skip in some)
    more = ", …" if len(top.skipped) > len(some) else ""
    message = f"{len(top.skipped)} images can't be read and were skipped: {listed}{more}"
    if not top.statistics.images:
        raise ValueError(f"No image can be read. Received: dataset={row.identity}; {message}")
    warnings.warn(message, stacklevel=3)

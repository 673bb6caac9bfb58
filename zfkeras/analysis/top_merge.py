"""What a batch of images adds to the result of a search."""

import dataclasses

import numpy as np

from zfkeras.analysis.map_statistics import MapStatistics, statistics_of
from zfkeras.analysis.top_result import TopActivations, nothing
from zfkeras.analysis.top_search import Found
from zfkeras.data.stream import Batch


def added_by(
    so_far: TopActivations, batch: Batch, found: Found, start: int, stop: int
) -> TopActivations:
    """What a batch alone adds, with only those of its units that can enter the result so far.

    Args:
        so_far: the result to add to.
        batch: the images, which have keys from `start` to `stop`.
        found: what was found in them.
        start: as above.
        stop: as above.

    Raises:
        ValueError: An activation is NaN or infinite.
    """
    real = batch.keys >= 0
    peaks = found.peaks[real]
    _check_finite(peaks, batch.keys[real], so_far.layer)
    added = searched_without_units(
        so_far, start, stop, batch.keys[real], statistics_of(peaks, batch.labels[real])
    )
    maps, images = found.maps, found.images
    # Candidates come map by map, strongest first.
    place = maps, np.arange(len(maps)) - np.searchsorted(maps, maps)
    added.values[place] = found.peaks[images, maps]
    added.positions[place] = found.positions
    added.keys[place] = batch.keys[images]
    added.labels[place] = batch.labels[images]
    names = np.array([file.decode(errors="replace") for file in batch.files], np.str_)
    return dataclasses.replace(added, files=_filled(added.files, place, names[images]))


def _filled(files: np.ndarray, place: tuple[np.ndarray, ...], names: np.ndarray) -> np.ndarray:
    files = files.astype(np.result_type(files, names))  # wide enough for the longest name
    files[place] = names
    return files


def searched_without_units(
    so_far: TopActivations, start: int, stop: int, keys: np.ndarray, statistics: MapStatistics
) -> TopActivations:
    """A result without units, of the images from `start` to `stop` of which some could be read."""
    return dataclasses.replace(
        nothing(
            so_far.layer,
            *so_far.values.shape,
            class_names=so_far.class_names,
            cardinality=so_far.cardinality,
            origin=so_far.origin,
        ),
        statistics=statistics,
        seen=np.array([[start, stop]], np.int64),
        skipped=np.setdiff1d(np.arange(start, stop), keys),
    )


def _check_finite(peaks: np.ndarray, keys: np.ndarray, layer: str) -> None:
    bad = ~np.isfinite(peaks)
    if bad.any():
        image, channel = np.argwhere(bad)[0]
        raise ValueError(
            f"Activations must be finite numbers to be ranked, but {bad.sum()} maps of layer "
            f"'{layer}' hold others. Are the weights, and the images, finite? "
            f"Received: {peaks[image, channel]} in map {channel} for image {keys[image]}"
        )

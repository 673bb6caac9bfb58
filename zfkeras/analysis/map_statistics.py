"""What a data set does to each feature map: counts that add up, in any order, to the same bits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zfkeras.results import Result

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]

BINS = 64  # on either side of zero
# Float addition is not associative, so that shards would differ in the last bit: what is averaged
# is counted in these steps, up to this size.
_STEP, _LARGEST = 2.0**-20, 2.0**22
_FINEST = -132  # the exponent of the bins' width while a map has been nothing but zero


@dataclass(frozen=True, eq=False, repr=False)
class MapStatistics(Result):
    """Statistics of C feature maps over the images of a data set.

    An image counts with its strongest unit of the map (its peak). All fields are sums, minima or
    maxima, so that statistics of disjoint sets of images merge to exactly those of their union.

    Attributes:
        images: () int64: how many images were seen.
        maximum, minimum: (C,) float32: the highest and lowest peak; -inf and inf without images.
        firing: (C,) int64: number of images whose peak is above zero.
        histogram: (C, 128) int64: images by their peak; see `edges`.
        total: (C,) int64: sum of the peaks in steps of 2**-20 (each rounded; one beyond 2**22
            counts as that).
        class_images: (K,) int64: images of each class; K is 0 without labels.
        class_total: (K, C) int64: `total` of each class.
    """

    images: Integers
    maximum: Floats
    minimum: Floats
    firing: Integers
    histogram: Integers
    total: Integers
    class_images: Integers
    class_total: Integers

    @property
    def mean(self) -> Floats:
        """(C,) float64: mean of the peaks; nan without images."""
        return self.total * _STEP / _count(self.images)

    @property
    def is_dead(self) -> NDArray[np.bool_]:
        """(C,) which maps fired for no image."""
        return self.firing == 0

    @property
    def firing_share(self) -> Floats:
        """(C,) float64: share of the images whose peak is above zero; nan without images."""
        return self.firing / _count(self.images)

    @property
    def edges(self) -> Floats:
        """(C, 129) float64: each map's bin edges.

        The width is a power of two, as narrow as the map's peaks allow; zero is always an edge,
        and a bin holds its lower one.
        """
        width = np.ldexp(1.0, _exponents(self.maximum, self.minimum))
        return width[:, None] * np.arange(-BINS, BINS + 1)

    @property
    def class_mean(self) -> Floats:
        """(K, C) float64: mean of the peaks over the images of each class; nan where none is."""
        return self.class_total * _STEP / _count(self.class_images)[:, None]

    @property
    def best_class(self) -> Integers:
        """(C,) int64: the class with the highest `class_mean`, -1 without labels."""
        return _best(self.class_mean)

    @property
    def selectivity(self) -> Floats:
        """(C,) float64 0..1: how much the map prefers its best class to all other images.

        (best - rest) / (best + rest) of the mean peaks, negative ones taken as zero (Morcos et
        al. 2018); 0 for a dead map, nan if not at least two classes were seen.
        """
        means = self.class_mean
        best = _best(means)
        if (self.class_images > 0).sum() < 2:
            return np.full(len(self.total), np.nan)
        maps = np.arange(len(best))
        others = self.class_images.sum() - self.class_images[best]
        rest = (self.class_total.sum(0) - self.class_total[best, maps]) * _STEP / others
        high, low = np.maximum(means[best, maps], 0), np.maximum(rest, 0)
        return np.divide(high - low, high + low, out=np.zeros_like(high), where=high + low > 0)

    def merge(self, other: "MapStatistics") -> "MapStatistics":
        """Those of both sets of images, which must have no image in common."""
        maximum = np.maximum(self.maximum, other.maximum)
        minimum = np.minimum(self.minimum, other.minimum)
        exponents = _exponents(maximum, minimum)
        classes = max(len(self.class_images), len(other.class_images))
        return MapStatistics(
            self.images + other.images,
            maximum,
            minimum,
            self.firing + other.firing,
            _widened(self, exponents) + _widened(other, exponents),
            self.total + other.total,
            _longer(self.class_images, classes) + _longer(other.class_images, classes),
            _longer(self.class_total, classes) + _longer(other.class_total, classes),
        )


def statistics_of(peaks: Floats, labels: Integers, classes: int = 0) -> MapStatistics:
    """Statistics of a batch.

    Args:
        peaks: (N, C) finite float32: each image's strongest activation of each map; N may be 0.
        labels: (N,) classes, -1 for none.
        classes: number of classes, if known; higher labels add to it.

    Example:
        >>> found = statistics_of(np.array([[0.0, 3.0], [0.0, 5.0]], "f"), np.array([0, 1]))
        >>> found.mean.tolist(), found.firing_share.tolist(), found.best_class.tolist()
        ([0.0, 4.0], [0.0, 1.0], [0, 1])
    """
    peaks = np.asarray(peaks, np.float32) + np.float32(0)  # no -0.0, whose extremes have no order
    maximum = peaks.max(0, initial=-np.inf)
    minimum = peaks.min(0, initial=np.inf)
    steps = np.rint(np.clip(peaks, -_LARGEST, _LARGEST).astype(np.float64) / _STEP).astype(np.int64)
    classes = max(classes, int(labels.max(initial=-1)) + 1)
    by_class = np.zeros((classes, peaks.shape[1]), np.int64)
    known = labels >= 0
    np.add.at(by_class, labels[known], steps[known])
    return MapStatistics(
        np.array(len(peaks)),
        maximum,
        minimum,
        (peaks > 0).sum(0),
        _histogram(peaks, _exponents(maximum, minimum)),
        steps.sum(0),
        np.bincount(labels[known], minlength=classes),
        by_class,
    )


def _count(images: Integers) -> Floats:
    """As divisor: nan instead of zero."""
    return np.where(images > 0, images, np.nan)


def _best(class_mean: Floats) -> Integers:
    if not len(class_mean):
        return np.full(class_mean.shape[1], -1)
    return np.where(np.isnan(class_mean), -np.inf, class_mean).argmax(0)


def _longer(table: Integers, rows: int) -> Integers:
    missing = [(0, rows - len(table))] + [(0, 0)] * (table.ndim - 1)
    return np.pad(table, missing)


def _exponents(maximum: Floats, minimum: Floats) -> NDArray[np.int32]:
    """(C,) of the bins' width: so that the largest peak is in the outer half of the bins."""
    largest = np.maximum(np.abs(maximum), np.abs(minimum))
    largest = np.where(np.isfinite(largest), largest, 0)
    exponents = np.frexp(largest)[1] - (BINS.bit_length() - 1)
    return np.where(largest > 0, np.maximum(exponents, _FINEST), _FINEST)


def _histogram(peaks: Floats, exponents: NDArray[np.int32]) -> Integers:
    maps = peaks.shape[1]
    bins = np.floor(np.ldexp(peaks.astype(np.float64), -exponents)).astype(np.int64) + BINS
    flat = bins + np.arange(maps) * 2 * BINS
    return np.bincount(flat.ravel(), minlength=maps * 2 * BINS).reshape(maps, 2 * BINS)


def _widened(statistics: MapStatistics, exponents: NDArray[np.int32]) -> Integers:
    """The histogram with bins of another width, which is the old one doubled a few times.

    Two neighbours become one bin, exactly, since zero is an edge of both.
    """
    histogram = statistics.histogram
    doublings = exponents - _exponents(statistics.maximum, statistics.minimum)
    for step in range(min(doublings.max(initial=0), BINS.bit_length())):
        maps = np.flatnonzero(doublings > step)
        wider = np.zeros((len(maps), 2 * BINS), np.int64)
        wider[:, BINS // 2 : -BINS // 2] = histogram[maps, ::2] + histogram[maps, 1::2]
        histogram = histogram.copy() if step == 0 else histogram
        histogram[maps] = wider
    return histogram

"""Statistics of feature maps against NumPy on all peaks at once."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from zfkeras.analysis.map_statistics import BINS, statistics_of

NONE = np.zeros(0, np.int64)
# Includes zeros of both signs, subnormals and powers of two: the edges of bins.
finite = st.floats(-1e9, 1e9, width=32) | st.sampled_from([0.0, -0.0, 1e-45, 0.5, 1.0, 64.0, -2.0])


def same(a, b):
    pairs = zip(vars(a).values(), vars(b).values(), strict=True)
    return all(x.tobytes() == y.tobytes() and x.shape == y.shape for x, y in pairs)


@given(hnp.arrays(np.float32, (9, 3), elements=finite), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_statistics_of_parts_merge_to_those_of_the_whole(peaks, a, b):
    labels = np.array([0, 2, -1, 1, 0, 0, 4, -1, 2])
    first, second = sorted([a, b])
    whole = statistics_of(peaks, labels)
    parts = [
        statistics_of(peaks[part], labels[part])
        for part in (slice(0, first), slice(first, second), slice(second, None))
    ]
    x, y, z = parts
    assert same(x.merge(y).merge(z), whole)
    assert same(x.merge(y.merge(z)), whole)
    assert same(z.merge(x).merge(y), whole)


@given(hnp.arrays(np.float32, (20, 2), elements=finite))
@settings(max_examples=100, deadline=None)
def test_the_histogram_counts_the_peaks_between_its_edges(peaks):
    found = statistics_of(peaks, np.full(20, -1))
    for channel in range(2):
        edges = found.edges[channel]
        expected = [
            ((edges[i] <= peaks[:, channel]) & (peaks[:, channel] < edges[i + 1])).sum()
            for i in range(2 * BINS)
        ]
        assert found.histogram[channel].tolist() == expected
        assert sum(expected) == 20
        assert edges[BINS] == 0


def test_the_bins_are_as_narrow_as_the_peaks_allow():
    found = statistics_of(np.array([[5.0], [63.0]], "f"), np.full(2, -1))
    assert np.diff(found.edges[0])[0] == 1  # 64 bins up to 64
    assert found.histogram[0, BINS + 5] == found.histogram[0, BINS + 63] == 1


def test_the_numbers_are_those_of_numpy(rng):
    peaks = rng.normal(3, 5, (200, 4)).astype("f")
    labels = rng.integers(0, 3, 200)
    found = statistics_of(peaks, labels)
    assert found.images == 200
    np.testing.assert_array_equal(found.maximum, peaks.max(0))
    np.testing.assert_array_equal(found.minimum, peaks.min(0))
    np.testing.assert_allclose(found.mean, peaks.mean(0, dtype=float), atol=2**-20)
    np.testing.assert_array_equal(found.firing_share, (peaks > 0).mean(0))
    for label in range(3):
        expected = peaks[labels == label].mean(0, dtype=float)
        np.testing.assert_allclose(found.class_mean[label], expected, atol=2**-20)
    np.testing.assert_array_equal(found.best_class, found.class_mean.argmax(0))


def test_selectivity_compares_the_best_class_with_all_others():
    peaks = np.array([[6, 1, 0], [2, 1, 0], [1, 1, 0], [1, 1, 0]], "f")
    found = statistics_of(peaks, np.array([1, 1, 0, 2]))
    np.testing.assert_allclose(found.selectivity, [(4 - 1) / (4 + 1), 0, 0])
    assert found.best_class[0] == 1


def test_a_class_without_images_is_never_the_best():
    found = statistics_of(np.array([[-3.0], [-1.0]], "f"), np.array([0, 2]), classes=5)
    assert found.best_class.tolist() == [2]
    assert np.isnan(found.class_mean[[1, 3, 4]]).all()


@pytest.mark.parametrize("labels", [[-1, -1], [3, 3]])
def test_selectivity_needs_two_classes(labels):
    found = statistics_of(np.array([[2.0], [1.0]], "f"), np.array(labels))
    assert np.isnan(found.selectivity).all()
    assert found.best_class.tolist() == [max(labels)]


def test_without_images_everything_is_undefined_but_countable():
    found = statistics_of(np.zeros((0, 2), "f"), NONE)
    assert np.isnan(found.mean).all()
    assert np.isnan(found.firing_share).all()
    assert found.histogram.sum() == 0
    assert np.isfinite(found.edges).all()


def test_huge_activations_saturate_the_mean_only():
    found = statistics_of(np.array([[1e30], [0]], "f"), np.full(2, -1))
    assert found.maximum[0] == np.float32(1e30)
    assert found.mean[0] == 2**21

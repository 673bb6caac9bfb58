"""FilterRMS against the definition of method.md, Filter renormalisation."""

import keras
import numpy as np
import pytest

from zfkeras.constraints import FilterRMS


def rms(kernel):
    return np.sqrt((kernel.astype("float64") ** 2).mean(axis=(0, 1, 2)))


def test_only_filters_over_the_radius_change_and_keep_their_direction(rng):
    kernel = rng.normal(size=(7, 5, 3, 4)).astype("float32")
    kernel *= np.float32([0.2, 0.05, 0.1, 3.0]) / rms(kernel).astype("float32")
    y = keras.ops.convert_to_numpy(FilterRMS(0.1)(kernel))
    np.testing.assert_allclose(rms(y), [0.1, 0.05, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(y[..., 1], kernel[..., 1])
    np.testing.assert_allclose(y[..., 0], kernel[..., 0] / 2, rtol=1e-5)


def test_the_radius_matters_and_a_second_pass_changes_nothing(rng):
    kernel = rng.normal(size=(3, 3, 8, 6)).astype("float32")
    once = FilterRMS(0.3)(kernel)
    np.testing.assert_allclose(rms(keras.ops.convert_to_numpy(once)), 0.3, rtol=1e-6)
    np.testing.assert_allclose(FilterRMS(0.3)(once), once, rtol=1e-6)


def test_a_dead_filter_stays_dead():
    assert not np.any(FilterRMS(0.1)(np.zeros((3, 3, 2, 2), "float32")))


def test_it_acts_after_each_update(rng):
    layer = keras.layers.Conv2D(4, 3, kernel_constraint=FilterRMS(0.05))
    model = keras.Sequential([keras.Input((8, 9, 3)), layer, keras.layers.GlobalAveragePooling2D()])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(rng.normal(size=(8, 8, 9, 3)), rng.normal(size=(8, 4)) * 10, verbose=0)
    assert rms(layer.kernel.numpy()).max() <= 0.05 * (1 + 1e-6)


def test_the_radius_must_be_positive():
    with pytest.raises(ValueError, match="must be > 0. Received: radius=0"):
        FilterRMS(0)

"""Filter statistics on filters whose numbers are known (method.md, Filters)."""

import keras
import numpy as np
import pytest

from zfkeras.analysis.filters import compare, filter_statistics, projection_aliasing
from zfkeras.analysis.top_activations import top_activations


def net(kernel, strides=2):
    height, width, depth, filters = kernel.shape
    pixels = keras.Input((40, 36, depth))
    conv = keras.layers.Conv2D(
        filters, (height, width), strides, activation="relu", use_bias=False, name="conv1"
    )
    model = keras.Model(pixels, conv(pixels))
    conv.set_weights([kernel])
    return model


def wave(frequency, size=32):
    """A horizontal wave under a Gaussian window, `frequency` cycles a pixel."""
    x = np.arange(size) - (size - 1) / 2
    window = np.exp(-((x / size * 4) ** 2))
    picture = np.outer(window, window * np.cos(2 * np.pi * frequency * x))
    return np.repeat(picture[..., None], 3, 2)


def stack(*filters):
    return np.stack(filters, -1).astype("float32")


def test_waves_land_in_their_bands():
    kernel = stack(wave(0.0), wave(0.15), wave(0.4))
    found = filter_statistics(net(kernel))
    np.testing.assert_array_equal(found.bands.argmax(1), [0, 1, 2])
    assert np.all(found.bands.max(1) > 0.9)
    np.testing.assert_allclose(found.bands.sum(1), 1)
    np.testing.assert_allclose(found.centroid[1:], [0.15, 0.4], atol=0.02)
    assert found.mid_coverage == pytest.approx(1 / 3)
    wide = filter_statistics(net(kernel), band_edges=(0.08, 0.45))
    assert wide.mid_coverage == pytest.approx(2 / 3)


@pytest.mark.parametrize(("stride", "share"), [(1, 0.0), (2, 0.75), (4, 0.9375)])
def test_aliasing_of_an_impulse(stride, share):
    """E2: white, so all but the central 1/stride² folds; the 64-grid is a little off."""
    impulse = np.zeros((7, 5, 3, 1), "float32")
    impulse[3, 2] = 1
    found = filter_statistics(net(impulse, stride))
    assert found.stride == stride
    assert found.aliasing[0] == pytest.approx(share, abs=0.025)
    assert found.flatness[0] == pytest.approx(1)


def test_planted_dead_filters_are_found(rng):
    alive = np.stack([wave(f, 9) for f in (0.1, 0.15, 0.2, 0.25)], -1)
    impulse = np.zeros((9, 9, 3, 1))
    impulse[4, 4] = 1
    kernel = np.concatenate([alive, alive[..., :1] * 0.01, impulse], -1).astype("float32")
    found = filter_statistics(net(kernel))
    np.testing.assert_array_equal(found.dead_by_weight, [0, 0, 0, 0, 1, 1])


def test_filters_that_never_fire_are_found(rng):
    kernel = np.abs(rng.normal(size=(3, 5, 3, 4))).astype("float32")
    kernel[..., 2] *= -1  # of pixels, which are never negative
    model = net(kernel)
    images = rng.uniform(0, 255, size=(6, 40, 36, 3)).astype("float32")
    top = top_activations(model, images, ["conv1"], k=2)["conv1"]
    found = filter_statistics(model, "conv1", top)
    np.testing.assert_array_equal(found.dead_by_activation, [False, False, True, False])
    assert found.summary()["dead by activation"] == 0.25
    assert "dead by activation" not in filter_statistics(model).summary()


def test_renormalisation_ends_dominance(rng):
    kernel = rng.normal(scale=0.2, size=(7, 7, 3, 8)).astype("float32")
    kernel[..., 3] *= 20
    before, after = (filter_statistics(net(kernel), radius=r) for r in (None, 0.1))
    assert before.dominance > 15
    assert before.largest_share > 0.9
    assert after.dominance == pytest.approx(1, rel=1e-5)
    assert after.largest_share == pytest.approx(1 / 8, rel=1e-5)
    np.testing.assert_array_equal(before.kernels, kernel)
    table = compare({"before": before, "after": after})
    assert table["largest RMS"]["after"] == pytest.approx(0.1)
    assert table["filters"] == {"before": 8, "after": 8}


def test_statistics_survive_a_file(rng, tmp_path):
    found = filter_statistics(net(rng.normal(size=(3, 5, 3, 4)).astype("float32")))
    again = type(found).load(found.save(tmp_path / "filters.npz"))
    assert again.summary() == found.summary()
    np.testing.assert_array_equal(again.kernels, found.kernels)


def test_aliasing_of_projections():
    rng = np.random.default_rng(5)
    smooth = np.repeat(rng.normal(size=(2, 8, 6, 3)), 8, 1).repeat(8, 2)
    lattice = np.zeros_like(smooth)
    lattice[:, ::4, ::4] = 3
    clean, printed = projection_aliasing(smooth, 4), projection_aliasing(smooth + lattice, 4)
    assert np.all(printed > clean + 0.1)
    np.testing.assert_array_equal(projection_aliasing(np.zeros((1, 8, 8, 3)), 2), [0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: filter_statistics(m, "conv9"), "no layer of this name.*Received: layer='conv9'"),
        (lambda m: filter_statistics(m, "flat"), "Conv2D layer.*Received: layer='flat'"),
        (lambda m: filter_statistics(m, band_edges=(0.3, 0.1)), "in order.*Received"),
        (lambda m: projection_aliasing(np.zeros((8, 8, 3)), 4), "Received: pixels of shape"),
        (lambda m: projection_aliasing(np.zeros((1, 8, 8, 3)), 1), "stride is 2 or more"),
    ],
)
def test_bad_arguments(call, message):
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            keras.layers.Conv2D(2, 3, name="conv1"),
            keras.layers.Flatten(name="flat"),
        ]
    )
    with pytest.raises(ValueError, match=message):
        call(model)


def test_activations_of_another_layer_are_refused(rng):
    model = net(rng.normal(size=(3, 3, 3, 2)).astype("float32"))
    top = top_activations(model, rng.uniform(size=(2, 40, 36, 3)), ["conv1"], k=1)["conv1"]
    wrong = type(top)(**{**vars(top), "layer": "conv2"})
    with pytest.raises(ValueError, match="for layer 'conv1'. Received: top.layer='conv2'"):
        filter_statistics(model, top=wrong)

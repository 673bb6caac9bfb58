"""`project` on crops is `project` on whole maps; what a further DeconvNet shares with the first."""

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.deconvnet import net as module

import networks

L = keras.layers
HEIGHT, WIDTH = 41, 37


def vgg():
    x = pixels = keras.Input((HEIGHT, WIDTH, 3))
    for n, depth in enumerate((6, 8)):
        x = L.Conv2D(depth, 3, padding="same", activation="relu")(x)
        x = L.MaxPooling2D(2, name=f"pool{n}")(x)
    return keras.Model(pixels, L.Conv2D(7, 3, activation="relu", name="last")(x))


def depthwise():
    x = pixels = keras.Input((HEIGHT, WIDTH, 3))
    x = L.ReLU(6.0)(L.BatchNormalization()(L.DepthwiseConv2D(3, 2, padding="same")(x)))
    x = L.ReLU(6.0)(L.Conv2D(6, 1)(x))
    return keras.Model(pixels, L.Conv2D(7, 3, activation="relu", name="last")(x))


def residual():
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    stem = L.Conv2D(6, 5, 2, activation="relu")(pixels)
    x = L.Conv2D(6, 3, padding="same", activation="relu")(stem)
    return keras.Model(pixels, L.Activation("relu", name="last")(L.Add()([x, stem])))


def global_on_the_way():
    """Squeeze and excitation: nothing is local below it."""
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    x = L.Conv2D(6, 5, 2, activation="relu")(pixels)
    weight = L.Dense(6, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.Concatenate()([x, L.UpSampling2D((19, 17))(weight)])
    return keras.Model(pixels, L.Conv2D(7, 1, activation="relu", name="last")(x))


NETS = {f.__name__: f for f in (vgg, depthwise, residual, global_on_the_way)}
ASKED = {
    "the strongest": {},
    "three": {"channels": 3},
    "some": {"channels": [4, 0, 4]},
    "all": {"channels": None},
    "one place": {"channels": 2, "position": (1, 3)},
}


def both(model, monkeypatch, images, layer, **asked):
    """On whole maps, and on crops."""
    found = []
    for limit in (np.inf, 0):
        monkeypatch.setattr(module, "CROPS_FROM", limit)
        found.append(zf.DeconvNet(model).project(images, layer, **asked))
    return found


def assert_same(whole, crops, most=0.0):
    np.testing.assert_array_equal(crops.channels, whole.channels)
    np.testing.assert_array_equal(crops.positions, whole.positions)
    np.testing.assert_allclose(crops.values, whole.values, rtol=1e-6)
    atol = most * np.abs(whole.pixels).max()
    np.testing.assert_allclose(crops.pixels, whole.pixels, rtol=0, atol=atol)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", NETS)
def test_crops_are_whole_maps(name, asked, monkeypatch, rng):
    model = networks.randomize(NETS[name]())
    images = rng.integers(0, 256, (3, HEIGHT, WIDTH, 3)).astype("uint8")
    for batch_size in (32, 2):
        whole, crops = both(
            model, monkeypatch, images, "last", batch_size=batch_size, **ASKED[asked]
        )
        assert np.abs(whole.pixels).max() > 0
        assert_same(whole, crops, most=1e-6)


@pytest.mark.parametrize("layer", ["conv2", "conv5"])
def test_zfnets_are_the_same_to_the_bit(layer, tiny, monkeypatch, rng):
    images = rng.uniform(0, 255, (3, 72, 64, 3))
    assert_same(*both(tiny, monkeypatch, images, layer, channels=2))


def test_units_that_are_silent(monkeypatch, rng):
    model = networks.randomize(vgg())
    kernel, bias = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([kernel * (np.arange(7) > 2), np.minimum(bias, 0)])
    images = rng.uniform(0, 255, (2, HEIGHT, WIDTH, 3))
    whole, crops = both(model, monkeypatch, images, "last", channels=None)
    assert_same(whole, crops, most=1e-6)
    assert (whole.values[:, :3] == 0).all()
    assert (crops.pixels[:, :3] == 0).all()


def test_crops_come_after_many_units(monkeypatch, rng):
    """Counted over all calls and objects; whole maps never count."""
    monkeypatch.setattr(module, "CROPS_FROM", 10)
    used = []
    on_crops = module.on_crops
    monkeypatch.setattr(module, "on_crops", lambda *a: used.append(a) or on_crops(*a))
    model = networks.randomize(vgg())
    images = rng.uniform(0, 255, (2, HEIGHT, WIDTH, 3))
    for calls in (0, 0, 1):
        zf.DeconvNet(model).project(images, "last", 2)
        assert len(used) == calls
    zf.DeconvNet(model).project(images, "last", None, position="all")
    zf.DeconvNet(model).project(images, "pool1", 2)
    assert len(used) == 1
    zf.DeconvNet(networks.randomize(vgg())).project(images, "last", 5)
    assert len(used) == 2


@pytest.mark.parametrize("limit", [0, np.inf])
def test_new_weights_are_seen(limit, monkeypatch, rng):
    model = networks.randomize(vgg())
    images = rng.uniform(0, 255, (2, HEIGHT, WIDTH, 3))
    before = zf.DeconvNet(model).project(images, "last")
    model.set_weights([-weight for weight in model.get_weights()])
    monkeypatch.setattr(module, "CROPS_FROM", limit)
    after = zf.DeconvNet(model).project(images, "last")
    fresh = vgg()
    fresh.set_weights(model.get_weights())
    assert_same(zf.DeconvNet(fresh).project(images, "last"), after, most=1e-6)
    assert np.abs(after.pixels - before.pixels).max() > 0


def test_a_further_object_shares_all_but_other_choices():
    model = networks.randomize(vgg())
    first, same = zf.DeconvNet(model), zf.DeconvNet(model)
    others = zf.DeconvNet(model, "guided"), zf.DeconvNet(model, overlap="overwrite")
    assert same._way("last") is first._way("last")
    assert all(other._way("last") is not first._way("last") for other in others)
    own = [{L.Conv2D: lambda call, signal, factor=f: factor * signal} for f in (1, 2)]
    ways = [zf.DeconvNet(model, rules=rules)._way("pool1") for rules in (*own, own[0])]
    assert ways[0] is ways[2]
    assert ways[0] is not ways[1]


def test_a_replaced_activation_is_seen(rng):
    model = networks.randomize(vgg())
    images = rng.uniform(0, 255, (2, HEIGHT, WIDTH, 3))
    before = zf.DeconvNet(model).project(images, "last")
    model.layers[1].activation = keras.activations.linear
    after = zf.DeconvNet(model).project(images, "last")
    fresh = vgg()
    fresh.layers[1].activation = keras.activations.linear
    fresh.set_weights(model.get_weights())
    assert_same(zf.DeconvNet(fresh).project(images, "last"), after)
    assert np.abs(after.pixels - before.pixels).max() > 0

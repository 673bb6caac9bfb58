"""Pixels of one range shown to a net, or hidden by a grey, of another: loud, and still done."""

import warnings

import keras
import numpy as np
import pytest

import zfkeras as zf

L = keras.layers
SIZE = (9, 11)


def net(*before):
    keras.utils.set_random_seed(2)
    pixels = keras.Input((*SIZE, 3))
    x = pixels
    for layer in before:
        x = layer(x)
    x = L.Conv2D(4, 3, activation="relu", name="c")(x)
    return keras.Model(pixels, L.Dense(3)(L.Flatten()(x)))


def normalized(mean):
    return L.Normalization(mean=[mean] * 3, variance=[1.0] * 3)


def pixel_mean():
    layer = zf.PixelMean(per_pixel=False)
    layer.build((None, *SIZE, 3))
    layer.mean.assign([104.0, 117.0, 123.0])
    return layer


OF_BYTES = {
    "1/255": lambda: net(L.Rescaling(1 / 255)),
    "1/127.5 - 1": lambda: net(L.Rescaling(1 / 127.5, -1.0)),
    "after augmentation": lambda: net(L.RandomFlip(), L.Rescaling(1 / 255)),
    "a scale for each channel": lambda: net(L.Rescaling([1 / 58, 1 / 57, 1 / 57])),
    "a mean of 120": lambda: net(normalized(120.0)),
    "a mean of pixels": lambda: net(pixel_mean()),
}
OF_ANY = {
    "nothing": net,
    "a scale of 2": lambda: net(L.Rescaling(2.0, -1.0)),
    "a mean of 0.5": lambda: net(normalized(0.5)),
    "BatchNorm": lambda: net(L.BatchNormalization()),
}
IMAGES = {
    "0..1": lambda rng: rng.uniform(0, 1, (2, *SIZE, 3)).astype(np.float32),
    "-1..1": lambda rng: rng.uniform(-1, 1, (2, *SIZE, 3)),
    "0..255": lambda rng: rng.integers(0, 256, (2, *SIZE, 3), dtype=np.uint8),
    "0..255 in float": lambda rng: rng.uniform(0, 255, (2, *SIZE, 3)),
    "0 and 1 in uint8": lambda rng: rng.integers(0, 2, (2, *SIZE, 3), dtype=np.uint8),
    "black": lambda rng: np.zeros((2, *SIZE, 3), np.float32),
    "dark": lambda rng: rng.uniform(0, 9, (2, *SIZE, 3)),
}
FRACTIONS = ("0..1", "-1..1")
RANGE = "preprocessing is for pixels of 0..255. Expected such. Received: "
FILL = "far outside the images' range. Expected a fill_value in .*Received: fill_value="
LOOKS = {
    "Predictor": lambda model, images: zf.Predictor(model)(images).scores,
    "project": lambda model, images: zf.DeconvNet(model).project(images, "c").pixels,
    "project_units": lambda model, images: zf.DeconvNet(model).project_units(
        images[:1], "c", [[0, 1, 2, 3]]
    ).pixels,
    "occlusion": lambda model, images: zf.occlusion(
        model, images, 3, 3, fill_value="mean"
    ).response,
    "invariance": lambda model, images: zf.invariance(
        model, images, "c", transforms={"scale": [1.2]}
    ).probabilities,
}  # fmt: skip


def said(function, *arguments):
    """What a call warns of, and what it answers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function(*arguments)
    return [str(one.message) for one in caught if one.category is UserWarning], found


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_BYTES)
@pytest.mark.parametrize("look", LOOKS)
def test_fractions_for_a_net_of_bytes_are_loud(look, name, rng):
    model, images = OF_BYTES[name](), IMAGES["0..1"](rng)
    told, found = said(LOOKS[look], model, images)
    assert told
    assert all(RANGE in one for one in told)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", OF_ANY)
@pytest.mark.parametrize("images", IMAGES)
def test_nets_of_any_range_take_all(name, images, rng):
    assert said(LOOKS["Predictor"], OF_ANY[name](), IMAGES[images](rng))[0] == []


@pytest.mark.parametrize("images", IMAGES)
def test_pixels_that_are_no_fractions_are_not_spoken_of(images, rng):
    told, _ = said(LOOKS["project"], OF_BYTES["1/255"](), IMAGES[images](rng))
    assert bool(told) == (images in FRACTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("fill", [128, (100, 0, 0), 0.5, -1, "mean", "blur"])
def test_an_occluder_of_another_range_is_loud(images, fill, rng):
    pixels = IMAGES[images](rng)
    told, found = said(lambda: zf.occlusion(net(), pixels, 3, 3, fill_value=fill))
    loud = images in FRACTIONS and fill in (128, (100, 0, 0))
    assert bool(told) == loud
    if loud:
        with pytest.warns(UserWarning, match=FILL):
            zf.occlusion(net(), pixels, 3, 3, fill_value=fill)
    assert np.isfinite(found.response).all()

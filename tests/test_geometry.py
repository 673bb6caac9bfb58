"""Receptive fields: tables of the papers' nets, and influence measured pixel by pixel."""

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.regions.receptive_field import ReceptiveField

import networks

L = keras.layers
ZFNET = {
    "conv1": (7, 2, 2),
    "pool1": (11, 4, 4),
    "conv2": (27, 8, 12),
    "pool2": (43, 16, 20),
    "conv3": (75, 16, 20),
    "conv4": (107, 16, 20),
    "conv5": (139, 16, 20),
    "pool5": (171, 32, 36),
}
ALEXNET = {
    "conv1": (11, 4, 5),
    "pool1": (19, 8, 9),
    "conv2": (51, 8, 9),
    "pool2": (67, 16, 17),
    "conv3": (99, 16, 17),
    "conv5": (163, 16, 17),
    "pool5": (195, 32, 33),
}
VGG16 = {
    "block1_conv2": (5, 1, 0),
    "block1_pool": (6, 2, 0.5),
    "block3_conv3": (40, 4, 1.5),
    "block4_pool": (100, 16, 7.5),
    "block5_conv3": (196, 16, 7.5),
    "block5_pool": (212, 32, 15.5),
}


@pytest.fixture(scope="module")
def narrow_zfnet():
    return zf.ZFNet(classes=2, width=0.02, fc_units=3)


def check(model, table):
    for layer, (size, jump, start) in table.items():
        expected = ReceptiveField((size, size), (jump, jump), (start, start))
        assert zf.receptive_field(model, layer) == expected, layer


def test_zfnet(narrow_zfnet):
    check(narrow_zfnet, ZFNET)
    field = zf.receptive_field(narrow_zfnet, "fc6")
    assert field.size == (331, 331)
    assert field.start == (116, 116)
    shifted = zf.ZFNet(classes=2, width=0.02, fc_units=3, alignment="cuda-convnet")
    check(shifted, {name: (r, j, c + 1) for name, (r, j, c) in ZFNET.items()})


def test_alexnet():
    check(zf.AlexNet(classes=2, width=0.05, fc_units=3), ALEXNET)


def test_vgg16():
    check(
        keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3)), VGG16
    )


def test_boxes_of_the_paper(narrow_zfnet):
    """Units 0, 6 and 12 of conv5 see [-49, 89], [47, 185] and [143, 281], cut at the border."""
    field = zf.receptive_field(narrow_zfnet, "conv5")
    assert field.box((0, 6), (224, 224)) == (0, 47, 90, 186)
    assert field.box((12, 0), (224, 224)) == (143, 0, 224, 90)


def test_unit_that_sees_padding_alone_has_an_empty_box():
    field = ReceptiveField().through((1, 1), (1, 1), before=(2, 2))
    top, left, bottom, right = field.box((0, 3), (5, 5))
    assert (top, bottom) == (0, 0)
    assert (left, right) == (1, 2)


def influence(model, layer, size, positions):
    """The pixels that change each unit, found by changing them one at a time."""
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    rng = np.random.default_rng(5)
    image = rng.uniform(1, 2, (1, *size, 3)).astype("float32")
    changed = np.repeat(image, size[0] * size[1], 0)
    for n, (row, column) in enumerate(np.ndindex(*size)):
        changed[n, row, column] += 50  # enough to become the maximum of any window
    maps = part.predict(np.concatenate([image, changed]), batch_size=256, verbose=0)
    moved = np.abs(maps[1:] - maps[:1]).max(-1) > 1e-6
    for row, column in positions:
        yield (row, column), moved[:, row, column].reshape(size)


def branches():
    x = pixels = keras.Input((23, 19, 3))
    x = L.Conv2D(2, 3, 2, padding="same", name="conv")(x)
    tall = L.ZeroPadding2D(((2, 1), (0, 0)))(L.Conv2D(2, (4, 1), name="tall")(x))
    wide = L.DepthwiseConv2D((1, 3), padding="same", dilation_rate=(1, 2))(x)
    x = L.Concatenate(name="both")([tall, wide])
    x = L.Cropping2D(((1, 1), (0, 1)), name="cropped")(x)
    x = L.MaxPooling2D(2, name="pool")(x)
    up = L.UpSampling2D(2, name="up")(x)
    smooth = L.UpSampling2D(2, interpolation="bilinear", name="smooth")(x)
    back = L.Conv2DTranspose(2, 3, 2, padding="same", name="back")(x)
    outputs = [up, smooth, back]
    return keras.Model(pixels, outputs), (23, 19)


@pytest.mark.parametrize("layer", ["conv", "both", "cropped", "pool", "up", "smooth", "back"])
def test_measured_influence_fills_the_box(layer):
    model, size = branches()
    model.set_weights([np.abs(w) + 0.1 for w in model.get_weights()])
    field = zf.receptive_field(model, layer)
    exact = layer in ("conv", "cropped", "pool")  # the others' fields differ from unit to unit
    for place, moved in influence(model, layer, size, [(0, 0), (3, 3), (4, 2), (1, 3)]):
        rows, columns = (np.flatnonzero(moved.any(axis)) for axis in (1, 0))
        top, left, bottom, right = field.box(place, size)
        found = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        assert found[0] >= top
        assert found[1] >= left
        assert found[2] <= bottom
        assert found[3] <= right
        if exact and layer != "cropped":
            assert found == (top, left, bottom, right)


def test_free_size_needs_an_image_size_where_it_matters():
    pixels = keras.Input((None, None, 3))
    x = L.Conv2D(2, 3, 2, padding="same", name="conv")(pixels)
    model = keras.Model(pixels, L.Flatten(name="flat")(L.GlobalAveragePooling2D(keepdims=True)(x)))
    with pytest.raises(ValueError, match="give `image_size`.*Received"):
        zf.receptive_field(model, "conv")
    assert zf.receptive_field(model, "conv", image_size=(8, 9)).start == (1, 0)


def test_unknown_reach_is_refused():
    pixels = keras.Input((9, 8, 3))
    model = keras.Model(pixels, L.Lambda(lambda x: x, name="odd")(pixels))
    with pytest.raises(ValueError, match="not how far this one sees.*'odd' of type Lambda"):
        zf.receptive_field(model, "odd")
    skip = L.Conv2D(3, 1, 2)(pixels)
    model = keras.Model(pixels, L.Add(name="add")([skip, L.Cropping2D(((0, 4), (0, 4)))(pixels)]))
    with pytest.raises(ValueError, match=r"same jump.*\(2, 2\) and jump=\(1, 1\)"):
        zf.receptive_field(model, "add")


def test_indices_may_pick_channels_alone(shared):
    field = zf.receptive_field(networks.squeezenet(shared), "fire9")
    assert field.jump == (16, 16)
    pixels = keras.Input((9, 8, 3))
    for odd in (pixels[:, 1:], pixels[:, ::2, :, :2]):
        model = keras.Model(pixels, L.Identity(name="same")(odd))
        with pytest.raises(ValueError, match="not how far.*GetItem"):
            zf.receptive_field(model, "same")


def test_boxes_hold_pixels_seen_in_part():
    field = ReceptiveField().back_through((2, 2), (2, 2))
    assert field == ReceptiveField((1.5, 1.5), (0.5, 0.5), (-0.25, -0.25))
    assert field.box((1, 6), (5, 5)) == (0, 2, 2, 4)


@pytest.mark.parametrize("gate", ["convolution", "crop"])
def test_maps_that_are_repeated_have_no_field(gate):
    """A unit beside the smaller map sees what no moving window does: it is not made up."""
    pixels = keras.Input((14, 12, 3))
    h = L.Conv2D(4, 3, name="h")(pixels)
    small = L.Conv2D(4, (12, 10))(h) if gate == "convolution" else L.Cropping2D(((5, 6), (4, 5)))(h)
    model = keras.Model(pixels, L.Multiply(name="gated")([h, small]))
    with pytest.raises(ValueError, match="unequal sizes.*Expected maps of one size. Received: "):
        zf.receptive_field(model, "gated")

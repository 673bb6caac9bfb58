"""Local projection equals the projection of whole images, for every unit, border or not."""

import itertools
import re
import runpy
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras.deconvnet.local import cut_patches
from zfkeras.deconvnet.local.groups import groups
from zfkeras.deconvnet.rules import Rule, rectify
from zfkeras.regions.merging import PASS

import networks

L = keras.layers
RELU = "relu"
ALMOST = 1e-6  # of the largest pixel: other sums in another order


def net(*tail, size=(33, 41)):
    """A small net: a strided convolution, then the given layers."""
    x = pixels = keras.Input((*size, 3))
    x = L.Conv2D(5, 3, 2, activation=RELU, name="stem")(x)
    for layer in tail:
        x = layer(x)
    return networks.randomize(keras.Model(pixels, x))


def conv(name="conv", **kwargs):
    return L.Conv2D(6, 3, activation=RELU, name=name, **kwargs)


def units_around(model, deconv, images, layer):
    """The four corners, the borders' middles and the centre, each of one or two channels."""
    _, height, width, depth = model.get_layer(layer).output.shape
    rows = [0, height // 2, height - 1]
    columns = [0, width // 2, width - 1]
    places = sorted({(r, c) for r in rows for c in columns})
    rng = np.random.default_rng(5)
    return np.array(
        [
            (rng.integers(len(images)), *place, channel)
            for place in places
            for channel in rng.permutation(depth)[:2]
        ]
    )


def whole(deconv, images, layer, units):
    """The oracle: each unit's projection from the whole image, and its value."""
    pixels, values = [], []
    for image, row, column, channel in units.tolist():
        found = deconv.project(images[[image]], layer, [channel], position=(row, column))
        pixels.append(found.pixels[0, 0])
        values.append(found.values[0, 0])
    return np.array(pixels), np.array(values)


def check(model, layer, tolerance=ALMOST, local=True, sees_like=None, **choices):
    """Compares with whole images, and the boxes with the receptive field."""
    deconv = zf.DeconvNet(model, **choices)
    images = networks.images(model)
    units = units_around(model, deconv, images, layer)
    found = zf.project_units(deconv, images, layer, units, batch_size=5)
    pixels, values = whole(deconv, images, layer, units)
    scale = np.abs(pixels).max()
    assert scale > 0
    np.testing.assert_allclose(found.paste() / scale, pixels / scale, atol=tolerance, rtol=0)
    np.testing.assert_allclose(found.values, values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.units, units)
    assert found.is_local == local
    if local:
        field = zf.receptive_field(sees_like or model, layer)
        boxes = [field.box(unit[1:3], images.shape[1:3]) for unit in units]
        np.testing.assert_array_equal(found.clipped_boxes, boxes)
        assert found.pixels.shape[1:3] == field.size
    return found


@pytest.mark.parametrize("alignment", ["symmetric", "cuda-convnet"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5"])
def test_zfnet(layer, alignment):
    check(small_zfnet(alignment), layer)


def small_zfnet(alignment):
    return networks.randomize(
        zf.ZFNet(classes=3, input_shape=(97, 110, 3), width=0.08, fc_units=4, alignment=alignment)
    )


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5"])
def test_alexnet_with_its_groups(layer):
    model = zf.AlexNet(classes=3, input_shape=(115, 131, 3), width=0.09, fc_units=4)
    assert model.get_layer("conv2").groups == 2
    check(networks.randomize(model), layer)


@pytest.mark.parametrize(
    "layer", [f"block{b}_{i}" for b, count in enumerate([2, 2, 3], 1) for i in range(count)]
)
def test_vgg(layer):
    check(networks.vgg_like(), layer)


@pytest.mark.parametrize(
    "layer", ["conv1", "fire2_expand1", "fire2_expand3", "fire2", "fire3_squeeze", "add", "conv10"]
)
def test_squeezenet_like(layer):
    check(networks.squeezenet_like(), layer)


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("layer", ["stem", "sum0", "block1"])
def test_residual_blocks(layer, rule):
    check(networks.resnet_like(), layer, rule=rule)


TAILS = {
    "pool, stride 1": [L.MaxPooling2D(3, 1, "same"), conv()],
    "pool, ceil": [zf.MaxPoolWithArgmax2D(3, 2, "ceil"), conv(padding="same")],
    "pool, same": [L.MaxPooling2D(3, 2, "same"), conv(padding="same")],
    "pool, gaps": [L.MaxPooling2D(2, 3), conv()],
    "pool, uneven": [L.MaxPooling2D((3, 2), (2, 1), "same"), conv()],
    "pool over negative maps": [L.BatchNormalization(), L.MaxPooling2D(3, 2, "same"), conv()],
    "two pools": [L.MaxPooling2D(2), L.MaxPooling2D(2, 1), conv()],
    "average, same": [L.AveragePooling2D(3, 2, "same"), conv()],
    "average, valid": [L.AveragePooling2D(2, 2), conv(padding="same")],
    "stride 3": [conv(strides=3), conv("other", padding="same")],
    "stride over kernel": [L.Conv2D(4, 1, 2, activation=RELU), conv(padding="same")],
    "dilated": [conv(dilation_rate=2, padding="same"), conv("other", dilation_rate=3)],
    "depthwise": [L.DepthwiseConv2D(3, depth_multiplier=2, activation=RELU), conv()],
    "separable": [L.SeparableConv2D(6, 3, 2, "same", activation=RELU)],
    "uneven kernel": [L.Conv2D(4, (5, 2), (2, 2), "same"), L.ReLU(), conv()],
    "cropped": [L.Cropping2D(((2, 1), (0, 3))), L.MaxPooling2D(2), conv()],
    "cropped, then padded": [L.Cropping2D(3), conv(padding="same")],
    "cropped at one end": [L.Cropping2D(((0, 3), (0, 2))), conv(padding="same"), conv("other")],
    "padded past its kernel": [L.ZeroPadding2D(4), conv()],
    "normalised": [zf.LocalResponseNormalization(alpha=0.1), L.MaxPooling2D(3, 2), conv()],
    "batch norm": [L.BatchNormalization(), L.ReLU(6.0), conv()],
    "dropout": [L.Dropout(0.5), L.GaussianNoise(0.1), conv()],
    "starts at a pool": [conv(padding="same"), L.MaxPooling2D(3, 2, "same")],
}


@pytest.mark.parametrize("rule", ["deconvnet", "gradient"])
@pytest.mark.parametrize("name", TAILS)
def test_every_local_layer(name, rule):
    model = net(*[layer.from_config(layer.get_config()) for layer in TAILS[name]])
    check(model, model.layers[-1].name, rule=rule)


def test_operations_and_shared_layers():
    check(networks.shared_layer(), "add")
    pixels = keras.Input((21, 19, 3))
    x = conv()((pixels[..., ::-1] / 2.0 - 0.25) * 3.0)
    x = keras.ops.relu(keras.ops.subtract(x, L.Conv2D(6, 1)(x)))
    x = L.Concatenate()([L.MaxPooling2D(2)(x), L.AveragePooling2D(2)(x)])
    check(networks.randomize(keras.Model(pixels, conv("top")(x))), "top")


def test_branches_that_see_unevenly_far_from_the_image_on():
    """Near the border the branches' boxes are cut unlike each other."""
    x = pixels = keras.Input((29, 23, 3))
    near = L.Conv2D(4, 3, 2, "same", activation=RELU)(x)
    far = L.Conv2D(4, 3, 2, "same", activation=RELU)(x)
    far = L.Conv2D(4, 5, padding="same", activation=RELU)(far)
    x = L.Add()([near, far])
    check(networks.randomize(keras.Model(pixels, conv("top", padding="same")(x))), "top")


def test_nested_models():
    model = networks.nested()
    deconv, images = zf.DeconvNet(model), networks.images(model)
    units = np.array([[0, 0, 0, 1], [1, 11, 5, 0], [1, 12, 11, 2]])
    found = zf.project_units(deconv, images, "backbone/pool", units)
    pixels, _ = whole(deconv, images, "backbone/pool", units)
    assert found.is_local
    np.testing.assert_allclose(found.paste(), pixels, atol=ALMOST * np.abs(pixels).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_precisions(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = net(L.MaxPooling2D(3, 2, name="pool"), conv())
    finally:
        keras.config.set_dtype_policy(before)
    check(model, "conv")


def test_every_unit_of_a_map_is_what_the_tape_says():
    """With rule="gradient", a projection is the value times its gradient: no code in common."""
    model = net(L.MaxPooling2D(3, 2, "same"), conv(padding="same"), size=(17, 14))
    images = networks.images(model, count=1)
    height, width = model.output.shape[1:3]
    units = np.array([(0, r, c, 2) for r in range(height) for c in range(width)])
    found = zf.project_units(zf.DeconvNet(model, rule="gradient"), images, "conv", units)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reshape(model(x)[0, :, :, 2], [-1])
    gradients = tape.jacobian(y, x)[:, 0] * y[:, None, None, None]
    np.testing.assert_allclose(found.values, y)
    np.testing.assert_allclose(found.paste(), gradients, atol=1e-6)


@pytest.mark.slow
def test_the_papers_net_differs_by_nothing():
    """Every convolution of the full-size ZFNet, corners included: no more than the last bit."""
    keras.utils.set_random_seed(0)
    model = zf.ZFNet(classes=3, fc_units=4)
    images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    deconv = zf.DeconvNet(model)
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        units = units_around(model, deconv, images, layer)[::2]
        pixels, values = whole(deconv, images, layer, units)
        found = zf.project_units(deconv, images, layer, units)
        assert found.is_local
        np.testing.assert_allclose(found.paste(), pixels, atol=ALMOST * np.abs(pixels).max())
        np.testing.assert_array_equal(found.values, values)


@pytest.mark.slow
def test_real_squeezenet(shared):
    model = networks.squeezenet(shared)
    images = np.stack([picture for _, picture in networks.photographs(shared, count=3)])
    deconv = zf.DeconvNet(model)
    for layer in ("conv1", "fire2", "fire5_expand3", "fire9", "conv10"):
        units = units_around(model, deconv, images, layer)[::3]
        pixels, _ = whole(deconv, images, layer, units)
        found = zf.project_units(deconv, images, layer, units)
        assert found.is_local
        np.testing.assert_allclose(found.paste(), pixels, atol=ALMOST * np.abs(pixels).max())


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


FALLBACKS = {
    "upsampling": ([L.UpSampling2D(2), conv()], {}),
    "transposed": ([L.Conv2DTranspose(4, 3, 2, activation=RELU), conv()], {}),
    "your own rule": ([Doubled(), conv()], {"rules": {Doubled: lambda _, signal: 2 * signal}}),
    "overwriting windows": ([L.MaxPooling2D(3, 2), conv()], {"overlap": "overwrite"}),
    "per-position weights": ([L.PReLU(), conv()], {"rule": "gradient"}),
}


WHY_WHOLE = {
    "upsampling": "'up_sampling2d.*' has more units than its input",
    "transposed": "'conv2d_transpose.*' has more units than its input",
    "your own rule": "not how far this one sees.*'doubled.*' of type Doubled",
    "overwriting windows": "'max_pooling2d.*' of type MaxPooling2D has no reverse rule on crops",
    "per-position weights": "'p_re_lu.*' of type PReLU has no reverse rule on crops",
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_what_is_not_local_is_computed_whole(name):
    tail, choices = FALLBACKS[name]
    found = check(
        net(*[layer.from_config(layer.get_config()) for layer in tail]),
        "conv",
        local=False,
        **choices,
    )
    np.testing.assert_array_equal(found.boxes, [[0, 0, 33, 41]] * len(found))
    assert re.search(WHY_WHOLE[name], found.why_whole)


class Leaky(keras.layers.Layer):
    def call(self, x):
        return keras.ops.leaky_relu(x, 0.25)


LOCAL = {
    "a rule of yours that works in place": (
        [Leaky(), conv()],
        {"rules": {Leaky: rectify}},
    ),
    "one that you declare to": (
        [Doubled(), conv()],
        {"rules": {Doubled: Rule(lambda _, signal: 2 * signal, reads=(), in_place=True)}},
    ),
    "a dense layer on maps": ([L.Dense(5, activation=RELU), conv()], {}),
    "what does nothing at inference": (
        [L.ActivityRegularization(), L.RandomFlip(), L.RandomInvert(), conv()],
        {},
    ),
    "centre crop": ([L.CenterCrop(13, 15), conv()], {}),
}


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_local(name):
    tail, choices = LOCAL[name]
    model = net(*[layer.from_config(layer.get_config()) for layer in tail])
    layers = (L.ReLU() if isinstance(layer, Doubled | Leaky) else layer for layer in tail)
    like = net(*[layer.from_config(layer.get_config()) for layer in layers])
    check(model, "conv", sees_like=like, **choices)


def test_overwriting_is_local_where_windows_do_not_overlap():
    check(net(L.MaxPooling2D(2), conv()), "conv", overlap="overwrite")


def test_global_layers_on_the_way():
    """Squeeze and excitation: the gradient of every unit reaches every pixel."""
    pixels = keras.Input((23, 19, 3))
    x = conv("stem")(pixels)
    scale = L.Dense(6, activation=RELU)(L.GlobalAveragePooling2D()(x))
    x = L.Add(name="add")([x, L.Reshape((1, 1, 6))(scale)])
    model = networks.randomize(keras.Model(pixels, conv("top")(x)))
    found = check(model, "top", local=False)
    assert (found.pixels != 0).any(3).mean((1, 2)).max() > 0.9


def test_dense_layers():
    model = networks.chain()
    deconv, images = zf.DeconvNet(model), networks.images(model)
    found = zf.project_units(deconv, images, "logits", [[1, 0, 0, 3], [0, 0, 0, 1]])
    assert not found.is_local
    for index, (image, channel) in enumerate([(1, 3), (0, 1)]):
        expected = deconv.project(images[[image]], "logits", [channel])
        np.testing.assert_allclose(found.paste()[index], expected.pixels[0, 0], atol=1e-6)
        np.testing.assert_allclose(found.values[index], expected.values[0, 0], rtol=1e-5)


@pytest.fixture(scope="module")
def chain():
    model = networks.chain()
    return zf.DeconvNet(model), networks.images(model, count=5)


UNITS = [[4, 0, 6, 2], [0, 8, 7, 0], [4, 7, 1, 6], [1, 8, 2, 4], [0, 8, 7, 0]]


def test_batches_and_chunks_change_nothing(chain, monkeypatch):
    deconv, images = chain
    expected = zf.project_units(deconv, images, "conv2", UNITS)
    monkeypatch.setattr("zfkeras.deconvnet.local.units.BYTES_KEPT", 1)  # an image at a time
    found = zf.project_units(deconv, images.astype("float64"), "conv2", UNITS, batch_size=1)
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-6)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.units, UNITS)


def test_parts_are_the_whole(chain):
    deconv, images = chain
    expected = zf.project_units(deconv, images, "conv2", UNITS)
    seen = []
    for index, part in deconv.iterate_units(images, "conv2", UNITS, batch_size=2):
        assert len(part) == len(index) <= 2
        np.testing.assert_allclose(part.pixels, expected.pixels[index], atol=1e-6)
        np.testing.assert_array_equal(part.boxes, expected.boxes[index])
        np.testing.assert_array_equal(part.units, expected.units[index])
        seen.extend(index)
    assert sorted(seen) == list(range(len(UNITS)))


def test_dead_units_project_to_nothing(chain):
    images, model = chain[1], networks.chain()
    kernel, bias = model.get_layer("conv2").get_weights()
    model.get_layer("conv2").set_weights([kernel, np.full_like(bias, -1e3)])
    found = zf.project_units(zf.DeconvNet(model), images, "conv2", UNITS, batch_size=2)
    assert not found.values.any()
    assert not found.pixels.any()
    np.testing.assert_array_equal(found.tight_boxes(), found.clipped_boxes)


def test_new_weights_are_seen(chain):
    model = networks.chain()
    deconv, images = zf.DeconvNet(model), chain[1]
    before = zf.project_units(deconv, images, "conv2", UNITS)
    networks.randomize(model, seed=8)
    after = zf.project_units(deconv, images, "conv2", UNITS)
    fresh = zf.project_units(zf.DeconvNet(model), images, "conv2", UNITS)
    np.testing.assert_array_equal(after.pixels, fresh.pixels)
    np.testing.assert_array_equal(after.paste(), whole(deconv, images, "conv2", np.array(UNITS))[0])
    assert np.abs(after.pixels - before.pixels).max() > 0


def test_no_units(chain):
    deconv, images = chain
    found = zf.project_units(deconv, images, "conv2", np.zeros((0, 4), int))
    assert found.pixels.shape == (0, *zf.receptive_field(networks.chain(), "conv2").size, 3)
    assert found.paste().shape == (0, 41, 37, 3)
    assert found.patches(images) == []
    assert len(zf.project_units(deconv, images[:0], "conv2", [])) == 0


def test_progress(chain, capsys):
    zf.project_units(*chain, "conv2", UNITS, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_tight_boxes_hold_what_is_not_zero(chain):
    deconv, images = chain
    units = [[0, r, c, k] for r in (0, 2, 4) for c in (0, 3) for k in (1, 4)]
    found = zf.project_units(deconv, images, "pool2", units)
    pasted, clipped = found.paste(), found.clipped_boxes
    for picture, tight, box in zip(pasted, found.tight_boxes(), clipped, strict=True):
        if not picture.any():
            continue
        rows, columns = (np.flatnonzero((picture != 0).any(axes)) for axes in ((1, 2), (0, 2)))
        assert tight.tolist() == [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        assert (tight[:2] >= box[:2]).all()
        assert (tight[2:] <= box[2:]).all()
    assert (found.tight_boxes() != clipped).any()  # a pool's switch leaves out a part of its window


def test_patches_are_what_the_units_see(chain):
    deconv, images = chain
    found = zf.project_units(deconv, images, "conv2", UNITS)
    clipped = found.patches(images)
    filled = found.patches(images, fill_value=-9.0)
    assert filled.shape == found.pixels.shape
    for unit, patch, (top, left, bottom, right) in zip(
        found.units, clipped, found.clipped_boxes, strict=True
    ):
        np.testing.assert_array_equal(patch, images[unit[0], top:bottom, left:right])
    for patch, box, crop in zip(filled, found.boxes, clipped, strict=True):
        top, left = np.maximum(-box[:2], 0)
        inside = patch[top : top + crop.shape[0], left : left + crop.shape[1]]
        np.testing.assert_array_equal(inside, crop)
        assert (patch == -9).sum() == patch.size - crop.size
    tight = found.patches(images, tight=True)
    sizes = [[bottom - top, right - left] for top, left, bottom, right in found.tight_boxes()]
    assert [list(patch.shape[:2]) for patch in tight] == sizes


def test_patches_at_borders():
    images = np.arange(2 * 4 * 5).reshape(2, 4, 5, 1).astype("uint8")
    (corner,) = cut_patches(images, [1], [[2, 3, 9, 9]], fill_value=7)
    assert corner.shape == (7, 6, 1)
    assert corner.dtype == "uint8"
    np.testing.assert_array_equal(corner[:2, :2, 0], [[33, 34], [38, 39]])
    assert (corner[2:] == 7).all()
    with pytest.raises(ValueError, match="hold pixels of their images. Received: box="):
        cut_patches(images, [0], [[4, 0, 6, 2]])
    with pytest.raises(ValueError, match="images 0 to 1. Received: index="):
        cut_patches(images, [2], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="a box for each of the U indices. Received: 1 "):
        cut_patches(images, [0], [[0, 0, 1, 1]] * 2)


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ([[0, 0, 0]], ValueError, r"shape \(U, 4\).*Received: units.shape=\(1, 3\)"),
        ([0, 0, 0, 0], ValueError, r"Received: units.shape=\(4,\)"),
        ([[0.0, 0, 0, 0]], TypeError, "must be integers.*Received: units of dtype float64"),
        ([[5, 0, 0, 0]], ValueError, r"images 0 to 4.*Received: units\[0\]=\[5, 0, 0, 0\]"),
        ([[0, 0, 0, 0], [0, 9, 0, 0]], ValueError, r"rows 0 to 8.*Received: units\[1\]"),
        ([[0, 0, 8, 0]], ValueError, "columns 0 to 7.*Received"),
        ([[0, 0, 0, 8]], ValueError, "channels 0 to 7 of layer 'conv2'.*Received"),
        ([[-1, 0, 0, 0]], ValueError, r"\(1 such in all\)"),
    ],
)
def test_refuses_units(chain, units, error, message):
    with pytest.raises(error, match=message):
        zf.project_units(*chain, "conv2", units)


def test_refuses_images_layers_and_batches(chain):
    deconv, images = chain
    with pytest.raises(ValueError, match="has no layer of this name.*Received: layer='conv9'"):
        zf.project_units(deconv, images, "conv9", UNITS)
    with pytest.raises(ValueError, match="must be a batch of shape.*Received: images.shape"):
        zf.project_units(deconv, images[:, 1:], "conv2", UNITS)
    with pytest.raises(ValueError, match="finite numbers.*Received"):
        zf.project_units(deconv, np.full_like(images, np.nan), "conv2", UNITS)
    with pytest.raises(ValueError, match="`batch_size` must be a whole number of"):
        zf.project_units(deconv, images, "conv2", UNITS, batch_size=0)


def test_units_with_boxes_of_one_size_go_together(rng):
    """Opposite corners share a group, a corner and the middle do not; each unit is in one."""
    rows, columns = np.indices((13, 9)).reshape(2, -1)
    margin = [np.minimum(5, np.minimum(x, last - x)) for x, last in ((rows, 12), (columns, 8))]
    sizes = 200 + 100 * np.stack(margin, 1)[None]
    shuffled = rng.permutation(13 * 9)
    found = groups(sizes[:, shuffled], np.array([100.0]))
    assert 1 < len(found) < 36
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(13 * 9))
    number = np.empty(13 * 9, int)
    for which, group in enumerate(found):
        number[shuffled[group]] = which
    number = number.reshape(13, 9)
    np.testing.assert_array_equal(number, number[::-1])
    np.testing.assert_array_equal(number, number[:, ::-1])
    assert number[0, 0] != number[6, 4]


@pytest.mark.parametrize("work", [[3e4, 2e5], [2e5, 0]])
def test_groups_are_merged_while_that_pays(work, rng):
    sizes, work = rng.integers(1, 30, (2, 40, 2)), np.array(work)

    def cost(group):
        return len(group) * (sizes[:, group].max(1).prod(1) @ work)

    found = groups(sizes, work)
    assert 2 < len(found) < 30
    for one, other in itertools.combinations(found, 2):
        assert cost(np.concatenate([one, other])) > cost(one) + cost(other) + PASS
    total = sum(cost(group) + PASS for group in found)
    assert total < cost(np.arange(40)) + PASS
    assert total < sum(cost([unit]) + PASS for unit in range(40))


def test_many_kinds_of_boxes_are_sorted_in_no_time(rng):
    sizes, work = rng.integers(1, 90, (30, 4000, 2)), rng.uniform(1e3, 1e5, 30)
    start = time.process_time()
    found = groups(sizes, work)
    assert time.process_time() - start < 5
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(4000))


def test_chunks_of_units_and_weights_that_are_no_constants_change_nothing(chain, monkeypatch):
    deconv, images = chain
    expected = zf.project_units(deconv, images, "conv2", UNITS)
    monkeypatch.setattr("zfkeras.deconvnet.local.projectors.UNITS", 2)
    monkeypatch.setattr("zfkeras.deconvnet.local.local_backward_pass.FEW_BYTES", 0)
    found = zf.project_units(zf.DeconvNet(networks.chain()), images, "conv2", UNITS)
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["conv3", "conv4", "conv5", "one-image", "vgg-block4", "vgg-block5"]
)
def test_speed(name):
    path = Path(__file__).parents[1] / "benchmarks" / "local_projection.py"
    benchmark = runpy.run_path(str(path))
    case = benchmark["CASES"][name]
    assert benchmark["speed_up"](case, repeats=2) >= 0.7 * case.bar

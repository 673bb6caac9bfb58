"""`DeconvNet` against an independent engine, on every kind of model (method.md, Projection)."""

import runpy
from pathlib import Path

import keras
import modified_gradient
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras import ops
from zfkeras.deconvnet import rules

import networks

RULES = ("deconvnet", "guided", "gradient")


def assert_same(found, expected, tolerance=2e-6):
    """Equal up to float32 rounding, relative to the strongest pixel."""
    scale = np.abs(expected).max()
    assert scale > 0, "an all-zero projection proves nothing"
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def chain():
    return networks.chain()


@pytest.fixture(scope="module")
def projector(chain):
    return zf.DeconvNet(chain)


@pytest.fixture(scope="module")
def pictures(chain):
    return networks.images(chain, 3)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", networks.SMALL)
def test_equals_the_modified_gradient(name, rule):
    build, layers = networks.SMALL[name]
    model = build()
    images = networks.images(model)
    deconv, dead = zf.DeconvNet(model, rule=rule), 0
    for layer in layers if rule == "deconvnet" else layers[-2:]:
        for position in ("max", "all") if layer == layers[-1] else ("max",):
            found = deconv.project(images, layer, [2, 0], position=position)
            for index, channel in enumerate((2, 0)):
                pixels, values, positions = modified_gradient.project(
                    model, layer, images, channel, rule, position
                )
                if np.abs(pixels).max() == 0:
                    assert np.abs(found.pixels[:, index]).max() == 0
                    dead += 1
                    continue
                assert_same(found.pixels[:, index], pixels)
                np.testing.assert_allclose(found.values[:, index], values, rtol=1e-5, atol=1e-6)
                np.testing.assert_array_equal(found.positions[:, index], positions)
    assert dead <= len(layers) / 2, "too many dead units to prove anything"


def test_nested_models_from_outer_and_inner_layers():
    model = networks.nested()
    images = networks.images(model)
    deconv = zf.DeconvNet(model)
    found = deconv.project(images, "head", [1])
    assert_same(found.pixels[:, 0], modified_gradient.project(model, "head", images, 1)[0])

    backbone, pixels = model.get_layer("backbone"), keras.Input((29, 27, 3))
    for layer in ("conv", "pool"):
        inner = keras.Model(backbone.inputs, backbone.get_layer(layer).output)
        tap = keras.Model(pixels, inner(pixels / 2.0 - 0.25))
        expected, _, _ = modified_gradient.project(tap, tap.output, images, 1)
        assert_same(deconv.project(images, f"backbone/{layer}", [1]).pixels[:, 0], expected)
    whole = deconv.project(images, "backbone", [1]).pixels
    np.testing.assert_array_equal(whole, deconv.project(images, "backbone/pool", [1]).pixels)


def test_reloaded_model_projects_the_same(tmp_path, chain, projector, pictures):
    chain.save(tmp_path / "chain.keras")
    reloaded = zf.DeconvNet(keras.saving.load_model(tmp_path / "chain.keras"))
    for layer in ("conv3", "fc"):
        expected = projector.project(pictures, layer, 2)
        found = reloaded.project(pictures, layer, 2)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.channels, expected.channels)


def test_vgg16():
    model = networks.randomize(
        keras.applications.VGG16(weights=None, include_top=False, input_shape=(45, 39, 3))
    )
    images = networks.images(model)
    found = zf.DeconvNet(model).project(images, "block4_conv2", [100])
    expected, _values, positions = modified_gradient.project(model, "block4_conv2", images, 100)
    assert_same(found.pixels[:, 0], expected)
    np.testing.assert_array_equal(found.positions[:, 0], positions)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_resnet50v2(rule):
    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50V2(weights=None, input_shape=(64, 75, 3), classes=5)
    _calibrate(model)
    images = networks.images(model)
    deconv = zf.DeconvNet(model, rule=rule)
    for layer in ("conv2_block2_out", "conv3_block4_preact_relu", "post_relu"):
        found = deconv.project(images, layer, [3]).pixels[:, 0]
        expected, _, _ = modified_gradient.project(model, layer, images, 3, rule)
        # One graph rounds otherwise than layer by layer: of millions of gates one may flip.
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def _calibrate(model):
    """Sets the BatchNorm statistics layer by layer, so that deep activations don't vanish."""
    images = networks.images(model, 4)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            x = keras.Model(model.inputs[0], layer.input)(images, training=False)
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


@pytest.mark.parametrize(
    ("rule", "layers"), [("deconvnet", ("pool1", "fire4", "fire9")), ("guided", ("fire5",))]
)
def test_real_squeezenet(shared, rule, layers):
    model = networks.squeezenet(shared)
    images = np.stack([picture for _, picture in networks.photographs(shared, 2)])
    deconv = zf.DeconvNet(model, rule=rule)
    for layer in layers:
        part = keras.Model(model.inputs[0], model.get_layer(layer).output)
        channel = part.predict(images, verbose=0).max((1, 2)).min(0).argmax()
        found = deconv.project(images, layer, [channel])
        expected, _, positions = modified_gradient.project(model, layer, images, channel, rule)
        assert_same(found.pixels[:, 0], expected, 1e-5)
        np.testing.assert_array_equal(found.positions[:, 0], positions)


@pytest.mark.parametrize("tier", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_squeezenet_is_the_real_one(shared, tier):
    model, reference = networks.squeezenet(shared), networks.top5(shared)
    photographs = list(networks.photographs(shared, 40 if tier == "some" else None))
    assert len(photographs) >= 40
    scores = model.predict(np.stack([x for _, x in photographs]), batch_size=20, verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(scores))
    for (name, _), row in zip(photographs, probabilities, strict=True):
        classes, expected = reference[name]
        np.testing.assert_allclose(row[classes], expected, atol=2e-5)
        assert np.argsort(-row)[0] == classes[0]


# --- what is chosen -----------------------------------------------------------------------------


def test_channels_by_number_by_list_and_all(chain, projector, pictures):
    maps = keras.Model(chain.inputs, chain.get_layer("conv3").output).predict(pictures, verbose=0)
    peaks = maps.max((1, 2))
    everything = projector.project(pictures, "conv3", None)
    np.testing.assert_array_equal(everything.channels, np.tile(np.arange(7), (3, 1)))
    np.testing.assert_allclose(everything.values, peaks, rtol=1e-5)
    best = projector.project(pictures, "conv3", 3)
    np.testing.assert_array_equal(best.channels, np.argsort(-peaks, 1)[:, :3])
    given = projector.project(pictures, "conv3", [6, 6, 1])
    np.testing.assert_array_equal(given.channels, [[6, 6, 1]] * 3)
    for image in range(3):
        for found in (best, given):
            for pixels, channel in zip(found.pixels[image], found.channels[image], strict=True):
                np.testing.assert_allclose(
                    pixels, everything.pixels[image, channel], atol=1e-6 * np.abs(pixels).max()
                )


def test_position_of_a_unit(chain, projector, pictures):
    maps = keras.Model(chain.inputs, chain.get_layer("conv2").output).predict(pictures, verbose=0)
    place = (4, 7)
    found = projector.project(pictures, "conv2", 2, position=place)
    expected = np.argsort(-maps[:, 4, 7], axis=1)[:, :2]
    np.testing.assert_array_equal(found.channels, expected)
    np.testing.assert_array_equal(found.positions, np.broadcast_to(place, (3, 2, 2)))
    channel = maps[:, 4, 7].min(0).argmax()
    pixels, values, _ = modified_gradient.project(chain, "conv2", pictures, channel, position=place)
    found = projector.project(pictures, "conv2", [channel], position=np.array(place))
    np.testing.assert_allclose(found.values[:, 0], values, rtol=1e-5)
    assert_same(found.pixels[:, 0], pixels)


def test_ties_take_the_first_unit_and_the_lower_channel():
    pixels = keras.Input((5, 4, 3))
    layer = keras.layers.Conv2D(3, 1, kernel_initializer="ones", name="conv")
    deconv = zf.DeconvNet(keras.Model(pixels, layer(pixels)))
    found = deconv.project(np.ones((1, 5, 4, 3)), "conv", 2)
    np.testing.assert_array_equal(found.channels, [[0, 1]])
    np.testing.assert_array_equal(found.positions, [[[0, 0], [0, 0]]])


@pytest.mark.parametrize("position", ["max", "all", (2, 1)])
def test_batch_size_changes_nothing(projector, pictures, position):
    whole = projector.project(pictures, "conv3", 4, position=position, batch_size=64)
    for batch_size in (1, 2, 5):
        parts = projector.project(pictures, "conv3", 4, position=position, batch_size=batch_size)
        np.testing.assert_array_equal(parts.channels, whole.channels)
        np.testing.assert_allclose(parts.pixels, whole.pixels, atol=1e-6 * whole.pixels.max())


def test_no_images_no_projections(projector):
    found = projector.project(np.zeros((0, 41, 37, 3), "uint8"), "conv3", 2)
    assert found.pixels.shape == (0, 2, 41, 37, 3)
    assert found.positions.shape == (0, 2, 2)


def test_integers_are_pixels_too(projector, rng):
    pixels = rng.integers(0, 256, (2, 41, 37, 3))
    expected = projector.project(pixels.astype("float64"), "conv2", 2)
    for dtype in ("uint8", "int64"):
        found = projector.project(pixels.astype(dtype), "conv2", 2)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert expected.pixels.dtype == np.float32


def test_models_that_declare_integers(rng):
    pixels = keras.Input((12, 11, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(
        keras.layers.Rescaling(1 / 255)(pixels)
    )
    model = networks.randomize(keras.Model(pixels, x))
    images = rng.integers(0, 256, (2, 12, 11, 3)).astype("uint8")
    found = zf.DeconvNet(model).project(images, "conv", None)
    peaks = model.predict(images, verbose=0).max((1, 2))
    np.testing.assert_allclose(found.values, peaks, rtol=1e-5)
    assert found.pixels.any()


def test_progress_is_shown_when_asked(projector, pictures, capsys):
    projector.project(pictures, "conv1", 2, progress=True)
    assert "6/6" in capsys.readouterr().err
    projector.project(pictures, "conv1", 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits_of_a_fused_head(activation):
    model = networks.sequential()
    images = networks.images(model)
    head = model.get_layer("head")
    head.activation = keras.activations.get(activation)
    found = zf.DeconvNet(model).project(images, "head", 2)
    features = keras.Model(model.inputs, model.get_layer("average").output).predict(
        images, verbose=0
    )
    logits = features @ head.get_weights()[0] + head.get_weights()[1]
    np.testing.assert_allclose(found.values, -np.sort(-logits, 1)[:, :2], rtol=1e-5)
    head.activation = keras.activations.linear
    expected = zf.DeconvNet(model).project(images, "head", 2)
    np.testing.assert_allclose(found.pixels, expected.pixels, rtol=1e-5, atol=1e-7)


# --- the promises of method.md, Projection ------------------------------------------------------


def test_first_layer_places_its_filter(rng):
    """K C1-C2: without pooling, layer 1 gives value times kernel at the receptive field."""
    pixels = keras.Input((14, 11, 3))
    layer = keras.layers.Conv2D(4, 5, 3, padding="same", activation="relu", name="conv1")
    model = networks.randomize(keras.Model(pixels, layer(pixels)))
    images = networks.images(model, 3)
    found = zf.DeconvNet(model).project(images, "conv1", None)
    field = zf.receptive_field(model, "conv1")
    kernel = layer.get_weights()[0]
    for image, channel in np.ndindex(3, 4):
        place = found.positions[image, channel]
        corner = [
            int(c + i * j - (r - 1) / 2)
            for c, i, j, r in zip(field.start, place, field.jump, field.size, strict=True)
        ]
        canvas = np.zeros((14 + 10, 11 + 10, 3))
        rows, columns = (slice(5 + x, 10 + x) for x in corner)
        canvas[rows, columns] = kernel[..., channel] * found.values[image, channel]
        np.testing.assert_allclose(found.pixels[image, channel], canvas[5:-5, 5:-5], rtol=1e-5)


def test_positively_homogeneous(chain, projector, pictures):
    """The picture scales with the activation it starts from, and vanishes with it."""
    head = chain.get_layer("logits")
    way = projector._way("conv3")
    maps, kept = way.up(tf.constant(pictures))
    rows = [tf.range(3), tf.constant([1, 2, 3]), tf.constant([5, 0, 9])]
    once = way.down(tf.nn.relu(maps) + 1, kept, *rows).numpy()
    np.testing.assert_allclose(
        way.down(7 * (tf.nn.relu(maps) + 1), kept, *rows),
        7 * once,
        rtol=1e-4,
        atol=1e-5 * once.max(),
    )
    assert np.abs(way.down(0 * maps, kept, *rows)).max() == 0
    assert head.name == "logits"


def test_signed_and_not_rectified(projector, pictures):
    """The last step down is not rectified."""
    pixels = projector.project(pictures, "conv3").pixels
    assert (pixels.min((1, 2, 3, 4)) < 0).all()
    assert (pixels.max((1, 2, 3, 4)) > 0).all()


def test_biases_work_on_the_way_up_alone(chain, pictures):
    """With the same switches and start, another bias gives the same picture."""
    first = zf.DeconvNet(chain)._way("conv3")
    maps, kept = first.up(tf.constant(pictures))
    rows = [None, tf.constant([1, 2, 3]), None]
    before = first.down(maps, kept, *rows).numpy()
    changed = keras.models.clone_model(chain)
    changed.set_weights([w + (w.ndim == 1) for w in chain.get_weights()])
    second = zf.DeconvNet(changed)._way("conv3")
    np.testing.assert_array_equal(second.down(maps, kept, *rows), before)
    assert np.abs(second.up(tf.constant(pictures))[0] - maps).max() > 0.1


def test_normalization_is_identity_on_the_way_down(chain, projector, pictures):
    """Its constants have no effect there, and only there."""
    way = projector._way("conv2")
    maps, kept = way.up(tf.constant(pictures))
    before = way.down(maps, kept, None, tf.constant([1, 2, 3]), None).numpy()
    gradient = zf.DeconvNet(chain, rule="gradient")._way("conv2")
    up, known = gradient.up(tf.constant(pictures))
    strong = gradient.down(up, known, None, tf.constant([1, 2, 3]), None).numpy()
    norm = chain.get_layer("norm1")
    norm.alpha *= 100
    try:
        np.testing.assert_array_equal(
            way.down(maps, kept, None, tf.constant([1, 2, 3]), None), before
        )
        weak = gradient.down(up, known, None, tf.constant([1, 2, 3]), None).numpy()
        assert np.abs(weak - strong).max() > 0.01 * np.abs(strong).max()
    finally:
        norm.alpha /= 100


def test_positive_nets_have_one_answer():
    """K C6: weights, images and activations all positive, the three methods coincide."""
    model = networks.chain()
    model.set_weights([np.abs(w) * (w.ndim > 1) for w in model.get_weights()])
    for name in ("norm1", "norm2"):
        model.get_layer(name).alpha = 0.0
        model.get_layer(name).bias = 1.0
    images = np.abs(networks.images(model)) + 0.1
    found = [zf.DeconvNet(model, rule=rule).project(images, "fc", 2).pixels for rule in RULES]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "pool2", "conv3"])
def test_support_lies_in_the_receptive_field(chain, projector, pictures, layer):
    field = zf.receptive_field(chain, layer)
    found = projector.project(pictures, layer, 4)
    touched = 0
    for image, index in np.ndindex(found.values.shape):
        box = field.box(found.positions[image, index], (41, 37))
        pixels = found.pixels[image, index].copy()
        pixels[box[0] : box[2], box[1] : box[3]] = 0
        assert np.abs(pixels).max() == 0
        touched += np.abs(found.pixels[image, index]).max() > 0
    assert touched >= 6


def test_each_choice_changes_the_result(chain, projector, pictures):
    usual = projector.project(pictures, "conv3").pixels
    for choice in ({"rule": "guided"}, {"rule": "gradient"}, {"overlap": "overwrite"}):
        other = zf.DeconvNet(chain, **choice).project(pictures, "conv3").pixels
        assert np.abs(other - usual).max() > 1e-3 * np.abs(usual).max(), choice


def test_overlapping_windows_sum_or_overwrite():
    """Four 3x3 windows share the peak of a 5x5 map."""
    pixels = keras.Input((5, 5, 1))
    model = keras.Model(pixels, keras.layers.MaxPooling2D(3, 2, name="pool")(pixels))
    image = np.zeros((1, 5, 5, 1), "float32")
    image[0, 2, 2] = 3
    summed = zf.DeconvNet(model).project(image, "pool", [0], position="all").pixels
    assert summed[0, 0, 2, 2, 0] == 4 * 3
    assert np.count_nonzero(summed) == 1
    last = zf.DeconvNet(model, overlap="overwrite")
    assert last.project(image, "pool", [0], position="all").pixels[0, 0, 2, 2, 0] == 3


def test_overwrite_matches_the_explicit_pair(chain, pictures):
    """The way down by hand, on the public ops, for the layers under conv2."""
    weights = chain.get_layer("conv1").get_weights()[0]
    maps = keras.Model(chain.inputs, chain.get_layer("conv1").output).predict(pictures, verbose=0)
    _, switches = ops.max_pool_with_argmax(maps, (3, 3), (2, 2), "ceil")
    for overlap in ("sum", "overwrite"):
        found = zf.DeconvNet(chain, overlap=overlap).project(pictures, "norm1", [2], "all")
        norm = keras.Model(chain.inputs, chain.get_layer("norm1").output).predict(
            pictures, verbose=0
        )
        seed = norm * (np.arange(norm.shape[-1]) == 2)
        signal = ops.max_unpool(seed, switches, maps.shape[1:3], overlap)
        expected = tf.nn.conv2d_transpose(
            tf.nn.relu(signal), weights, [3, 41, 37, 3], strides=2, padding="VALID"
        )
        assert_same(found.pixels[:, 0], expected.numpy())


# --- inside TensorFlow --------------------------------------------------------------------------


def test_project_tensors_is_project(projector, pictures):
    traced = tf.function(
        lambda images, channels: projector.project_tensors(images, "conv3", channels),
        input_signature=[tf.TensorSpec((None, 41, 37, 3)), tf.TensorSpec((None,), tf.int32)],
    )
    strong = projector.project(pictures, "conv3", 2).channels
    given = [-1, strong[1, 1], strong[2, 0]]
    pixels, values, positions, channels = traced(pictures, given)
    for image, wanted in enumerate((1, given[1:2], given[2:])):
        found = projector.project(pictures[image : image + 1], "conv3", wanted)
        assert_same(pixels[image].numpy(), found.pixels[0, 0], 1e-6)
        np.testing.assert_allclose(values[image], found.values[0, 0], rtol=1e-5)
        np.testing.assert_array_equal(positions[image], found.positions[0, 0])
        assert channels[image] == found.channels[0, 0]
    nothing = traced(pictures[:0], np.zeros(0, "int32"))
    assert [tuple(x.shape) for x in nothing] == [(0, 41, 37, 3), (0,), (0, 2), (0,)]
    for wrong in (7, -2):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"`channels` must be -1 .* 0 to 6"
        ):
            traced(pictures[:1], [wrong])


def test_sizes_that_are_not_fixed():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu", name="conv1")(pixels)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1")(x)
    model = networks.randomize(
        keras.Model(pixels, keras.layers.Conv2D(5, 3, activation="relu", name="conv2")(x))
    )
    deconv = zf.DeconvNet(model)
    rng = np.random.default_rng(0)
    traced = tf.function(
        lambda images, channels: deconv.project_tensors(images, "conv2", channels),
        input_signature=[tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None,), tf.int32)],
    )
    for size in ((21, 26), (32, 19)):
        images = rng.normal(size=(2, *size, 3)).astype("float32")
        channel = deconv.project(images, "conv2", None).values.min(0).argmax()
        expected, _, _ = modified_gradient.project(model, "conv2", images, channel)
        assert_same(deconv.project(images, "conv2", [channel]).pixels[:, 0], expected)
        assert_same(traced(images, [channel] * 2)[0].numpy(), expected)


def test_nothing_is_added_to_the_model_and_nothing_traced_twice(chain, pictures):
    nodes = [len(layer._inbound_nodes) for layer in chain.layers]
    configuration, weights = chain.get_config(), chain.get_weights()
    traces = []

    def counting(call, signal):
        traces.append(call.layer.name)
        return rules.unpool(call, signal)

    deconv = zf.DeconvNet(chain, rules={zf.MaxPoolWithArgmax2D: counting})
    for count in (3, 1, 2):
        for channels in (1, [2], 2, None):
            deconv.project(pictures[:count], "conv3", channels)
    assert traces == ["pool2", "pool1"] * 2  # for one channel each, and for several
    assert [len(layer._inbound_nodes) for layer in chain.layers] == nodes
    assert chain.get_config() == configuration
    for before, after in zip(weights, chain.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_new_weights_are_seen(pictures):
    model = networks.chain()
    deconv = zf.DeconvNet(model)
    before = deconv.project(pictures, "conv3").pixels
    networks.randomize(model, seed=8)
    after = deconv.project(pictures, "conv3").pixels
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    np.testing.assert_array_equal(after, zf.DeconvNet(model).project(pictures, "conv3").pixels)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_precision(chain, projector, pictures, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = networks.chain()
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(chain.get_weights())
    expected = projector.project(pictures[:1], "conv2")
    place, channel = expected.positions[0, 0], expected.channels[0, 0]
    found = zf.DeconvNet(model).project(pictures[:1], "conv2", [channel], position=tuple(place))
    tolerance = {"mixed_float16": 0.02, "mixed_bfloat16": 0.15, "float64": 1e-5}[policy]
    assert found.pixels.dtype == np.float32
    assert_same(found.pixels, expected.pixels, tolerance)


# --- what is refused ----------------------------------------------------------------------------

REFUSED = {
    "rank": ({"images": np.zeros((41, 37, 3))}, ValueError, r"images\[None\].*\(41, 37, 3\)"),
    "size": (
        {"images": np.zeros((1, 40, 37, 3))},
        ValueError,
        r"'N', 41, 37, 3.*\(1, 40, 37, 3\)",
    ),
    "grey": ({"images": np.zeros((1, 41, 37, 1))}, ValueError, r"\(1, 41, 37, 1\)"),
    "dtype": ({"images": np.zeros((1, 41, 37, 3), bool)}, TypeError, "integers or floats.*bool"),
    "words": ({"images": ["cat.jpg"]}, TypeError, "integers or floats"),
    "nan": ({"images": np.full((2, 41, 37, 3), np.nan)}, ValueError, r"NaN.*images\[0\]"),
    "layer": ({"layer": "conv4"}, ValueError, "no layer of this name. Did you mean .*'conv3'"),
    "layer type": ({"layer": 3}, TypeError, "name of a layer.*layer=3"),
    "channel": ({"channels": [0, 7]}, ValueError, r"0 to 6.*has 7.*\[0, 7\]"),
    "negative": ({"channels": [-1]}, ValueError, r"channels=\[-1\]"),
    "none": ({"channels": []}, ValueError, r"channels=\[\]"),
    "too many": ({"channels": 8}, ValueError, "1 to 7.*channels=8"),
    "zero": ({"channels": 0}, ValueError, "1 to 7.*channels=0"),
    "fraction": ({"channels": 1.5}, TypeError, "k strongest.*channels=1.5"),
    "bool": ({"channels": True}, TypeError, "channels=True"),
    "position": ({"position": "top"}, ValueError, "'max'.*'all'.*position='top'"),
    "outside": ({"position": (0, 99)}, ValueError, r"columns 0 to .*\(0, 99\)"),
    "half": ({"position": (0, 1.5)}, ValueError, r"position=\(0, 1.5\)"),
    "triple": ({"position": (0, 1, 2)}, ValueError, r"position=\(0, 1, 2\)"),
    "batch": ({"batch_size": 0}, ValueError, "at least 1.*batch_size=0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(projector, pictures, case):
    wrong, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        projector.project(**({"images": pictures, "layer": "conv3"} | wrong))


def test_refuses_choices_and_models(chain):
    with pytest.raises(ValueError, match="`rule` must be one of .*deconvnet.*rule='saliency'"):
        zf.DeconvNet(chain, rule="saliency")
    with pytest.raises(ValueError, match="`overlap` must be one of .*overlap='mean'"):
        zf.DeconvNet(chain, overlap="mean")
    with pytest.raises(TypeError, match="`rules` must map .*Received"):
        zf.DeconvNet(chain, rules={keras.layers.ReLU: "rectify"})
    with pytest.raises(TypeError, match="`model` must be .*Received: model='vgg'"):
        zf.DeconvNet("vgg")


def test_activations_that_are_not_numbers(pictures):
    model = networks.chain()
    kernel, bias = model.get_layer("conv2").get_weights()
    model.get_layer("conv2").set_weights([kernel * np.nan, bias])
    with pytest.raises(ValueError, match="layer 'conv2' must be finite.*NaN"):
        zf.DeconvNet(model).project(pictures, "conv2")


def test_layers_lists_what_can_be_projected(chain, projector, pictures):
    assert projector.layers[:3] == ("conv1", "pool1", "norm1")
    for layer in projector.layers:
        assert projector.project(pictures[:1], layer).layer == layer


@pytest.mark.slow
def test_speed():
    """Bars of the benchmark, with a margin for what its neighbours do to the caches."""
    benchmark = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "projection.py"))
    assert benchmark["strongest_units"](repeats=5) <= 2.2 * 1.15
    assert benchmark["whole_maps"](repeats=3, sample=16) >= 1.9 / 1.15


@pytest.mark.parametrize("activation", ["gelu", "tanh", "elu", "softplus"])
def test_the_gradient_of_layers_with_a_nonlinearity_built_in(activation, rng):
    """The gradient of the whole layer, by TensorFlow itself."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input((9, 8, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", activation=activation)(pixels)
    x = keras.layers.Dense(5, activation=activation)(keras.layers.Flatten()(x))
    model = keras.Model(pixels, keras.layers.Dense(2, name="last")(x))
    images = rng.normal(size=(2, 9, 8, 3)).astype(np.float32)
    watched = tf.Variable(images)
    with tf.GradientTape() as tape:
        value = model(watched)[:, 1]
    expected = tape.gradient(value, watched) * value[:, None, None, None]
    found = zf.DeconvNet(model, rule="gradient").project(images, "last", [1])
    np.testing.assert_allclose(found.pixels[:, 0], expected, rtol=1e-3, atol=1e-6)

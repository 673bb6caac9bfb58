"""Heat maps against tapes, deletion against a loop, shuffled nets, and models with known faults."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

import zfkeras as zf
from zfkeras.analysis.explanations import METHODS, Settings, explainer, explanations
from zfkeras.analysis.faithfulness import faithfulness
from zfkeras.analysis.randomization import deletion_insertion, rank_correlation
from zfkeras.graph import walk
from zfkeras.graph.copies import FlatCopy, randomized
from zfkeras.graph.predictor import Predictor

import networks

L = keras.layers
HEIGHT, WIDTH, BOX = 15, 20, (4, 6, 10, 13)


def small(activation=None):
    keras.utils.set_random_seed(2)
    pixels = keras.Input((HEIGHT, WIDTH, 3), name="pixels")
    x = L.Rescaling(1 / 64, offset=-2)(pixels)
    x = L.Conv2D(6, 3, activation="relu", name="conv1")(x)
    x = L.MaxPooling2D(2, name="pool1")(x)
    x = L.Conv2D(5, 2, activation="relu", name="conv2")(x)
    x = L.Dense(7, activation="relu", name="fc")(L.Flatten()(x))
    return keras.Model(pixels, L.Dense(4, activation=activation, name="logits")(x))


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (2, HEIGHT, WIDTH, 3)).astype("f4")


CLASSES = np.array([1, 3])


def gradient(model, images, classes):
    pixels = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        score = tf.gather(model(pixels), classes, axis=1, batch_dims=1)
    return tape.gradient(score, pixels).numpy()


# === Copies ===


@pytest.mark.parametrize("name", ["chain", "squeezenet_like", "mobile", "nested", "sequential"])
def test_a_flat_copy_computes_the_same_and_leaves_the_model_alone(name):
    model = getattr(networks, name)()
    pixels = networks.images(model)
    operations = [step.operation for step in walk(model).steps]
    nodes = [len(operation._inbound_nodes) for operation in operations]
    before, weights = model(pixels), [w.copy() for w in model.get_weights()]
    copy = FlatCopy(model).model
    np.testing.assert_array_equal(copy(pixels), before)
    assert not any(isinstance(layer, keras.Model) for layer in copy.layers)
    for _ in randomized(copy, "cascading"):
        assert not np.allclose(copy(pixels), before)
    np.testing.assert_array_equal(copy(pixels), before)  # mended
    assert [len(operation._inbound_nodes) for operation in operations] == nodes
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("head", ["fused", "layer"])
def test_a_flat_copy_can_end_in_logits(model, images, head):
    soft = small("softmax")
    if head == "layer":
        soft = keras.Sequential([small(), L.Softmax()])
    np.testing.assert_allclose(FlatCopy(soft, logits=True).model(images), model(images), rtol=1e-5)


def test_a_lambda_is_borrowed_and_a_layer_without_config_named():
    class Own(L.Layer):
        def __init__(self, size):
            super().__init__(name="own")
            self.size = size

        def build(self, _):
            self.scale = self.add_weight(shape=(self.size,))

        def call(self, x):
            return x * self.scale

    halved = L.Lambda(lambda x: x / 2)
    net = keras.Sequential([keras.Input((5, 4, 3)), halved, L.Flatten(), L.Dense(2)])
    pixels, nodes = np.ones((1, 5, 4, 3)), len(halved._inbound_nodes)
    np.testing.assert_array_equal(FlatCopy(net).model(pixels), net(pixels))
    assert len(halved._inbound_nodes) == nodes
    with pytest.raises(ValueError, match=r"needs a `get_config`.*layer 'own' of type Own"):
        FlatCopy(keras.Sequential([keras.Input((5, 4, 3)), Own(3)]))


def test_orders_of_randomisation(model):
    copy = FlatCopy(model).model
    original = {layer.name: layer.get_weights() for layer in copy.layers}

    def changed():
        return {
            name
            for name, weights in original.items()
            for a, b in zip(weights, copy.get_layer(name).get_weights(), strict=True)
            if not np.array_equal(a, b)
        }

    seen = {order: [] for order in ("cascading", "independent")}
    for order, found in seen.items():
        for name in randomized(copy, order, seed=1):
            found.append((name, changed()))
    assert [name for name, _ in seen["cascading"]] == ["logits", "fc", "conv2", "conv1"]
    assert [len(names) for _, names in seen["cascading"]] == [1, 2, 3, 4]
    assert all(names == {name} for name, names in seen["independent"])
    for name in randomized(copy, "cascading"):
        kernel = copy.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(np.sort(kernel, None), np.sort(original[name][0], None))
        break
    with pytest.raises(ValueError, match="cascading.*order='up'"):
        next(randomized(copy, "up"))


# === Maps ===


def test_our_maps_equal_tapes(model, images):
    found = explanations(model, images, ("gradient_x_input", "saliency"), CLASSES)
    own = gradient(model, images, CLASSES)
    np.testing.assert_allclose(found[0], (own * images).sum(-1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[1], np.abs(own).max(-1), rtol=1e-4)


def test_guided_backprop_equals_a_custom_gradient(model, images):
    @tf.custom_gradient
    def guided(x):
        return tf.nn.relu(x), lambda up: tf.where((x > 0) & (up > 0), up, 0.0)

    copy = FlatCopy(model).model
    for name in ("conv1", "conv2", "fc"):
        copy.get_layer(name).activation = guided
    own = gradient(copy, images, CLASSES)
    found = explanations(model, images, ("guided",), CLASSES)[0]
    assert (model(images).numpy()[[0, 1], CLASSES] < 0).all()  # the harder case
    np.testing.assert_allclose(found, np.abs(own).max(-1), rtol=1e-3, atol=1e-7)


def test_grad_cam_equals_the_formula(model, images):
    tap = keras.Model(model.input, [model.get_layer("conv2").output, model.output])
    with tf.GradientTape() as tape:
        maps, _scores = tap(images)
        tape.watch(maps)
        # From the maps on, so that the tape sees them.
        x = model.get_layer("fc")(tf.reshape(maps, [2, -1]))
        score = tf.gather(model.get_layer("logits")(x), CLASSES, axis=1, batch_dims=1)
    weights = tape.gradient(score, maps).numpy().mean((1, 2))
    cam = np.maximum((maps.numpy() * weights[:, None, None]).sum(-1), 0)
    zoom = (1, HEIGHT / cam.shape[1], WIDTH / cam.shape[2])
    found = explanations(model, images, ("gradcam",), CLASSES)[0]
    np.testing.assert_allclose(found, scipy.ndimage.zoom(cam, zoom, order=1), rtol=1e-3, atol=1e-5)


def test_the_strongest_units_are_those_of_the_layer(model, images):
    found = explanations(model, images, ("deconvnet",), CLASSES)[0]
    by_hand = zf.DeconvNet(model).project(images, "conv2", 5).pixels
    np.testing.assert_allclose(found, np.abs(by_hand).max(-1).sum(1), rtol=1e-5)
    other = Settings(layer="pool1", units=2)
    found = explanations(model, images, ("deconvnet",), CLASSES, other)[0]
    by_hand = zf.DeconvNet(model).project(images, "pool1", 2).pixels
    np.testing.assert_allclose(found, np.abs(by_hand).max(-1).sum(1), rtol=1e-5)


@pytest.mark.parametrize("wrap", ["sequential", "nested", "softmax"])
def test_every_map_is_the_same_however_the_model_is_wrapped(model, images, wrap):
    if wrap == "softmax":
        other = small("softmax")
    elif wrap == "nested":
        other = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), small()])
    else:
        other = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), *small().layers[1:]])
    settings = Settings(baselines={"samples": 2, "maps": 2})
    for method in set(METHODS) - {"smoothgrad", "scorecam", "random"}:
        mine, theirs = (
            explanations(net, images[:1], (method,), 1, settings) for net in (model, other)
        )
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-6, err_msg=method)


def test_maps_follow_weights_that_change_and_leave_no_trace(images):
    net = small()
    makers = {name: explainer(net, name, Settings(baselines={"samples": 2})) for name in METHODS}
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    before = {name: make(images, CLASSES) for name, make in makers.items()}
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert keras.utils.is_interactive_logging_enabled()
    for name, make in makers.items():
        np.testing.assert_allclose(make(images, CLASSES), before[name], rtol=1e-4, err_msg=name)
    net.set_weights([w[..., ::-1] for w in net.get_weights()])
    for name, make in makers.items():
        changed = not np.allclose(make(images, CLASSES), before[name], rtol=1e-3)
        assert changed == (name != "random"), name


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("occlusion", {"patch_size": 5}),
        ("occlusion", {"strides": 3}),
        ("occlusion", {"fill_value": 255.0}),
        ("random", {"seed": 1}),
        ("smoothgrad", {"seed": 1}),
        ("smoothgrad", {"baselines": {"samples": 3}}),
        ("smoothgrad", {"baselines": {"noise": 0.5}}),
        ("scorecam", {"baselines": {"maps": 1}}),
        ("gradcam", {"baselines": {"layer": "conv1"}}),
        ("deconvnet", {"units": 1}),
    ],
)
def test_every_setting_matters(model, images, method, settings):
    maps = [explanations(model, images[:1], (method,), 1, Settings(**s))[0] for s in ({}, settings)]
    assert not np.allclose(*maps)


@pytest.mark.slow
def test_the_batch_size_does_not_matter(model, images):
    for method in ("deconvnet_logit", "guided", "gradient_x_input", "occlusion", "deconvnet"):
        one, many = (
            explanations(model, images, (method,), CLASSES, Settings(batch_size=n)) for n in (1, 32)
        )
        np.testing.assert_allclose(one, many, rtol=1e-3, atol=1e-5, err_msg=method)


def test_errors_of_maps(model, images):
    with pytest.raises(ValueError, match=r"deconvnet.*Received: method='lime'"):
        explainer(model, "lime")
    with pytest.raises(ValueError, match="needs a convolution.*layer='conv9'"):
        explainer(model, "gradcam", Settings(baselines={"layer": "conv9"}))
    flat = keras.Sequential([keras.Input((4, 5, 3)), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match="has none.*deconvnet_logit"):
        explainer(flat, "deconvnet")
    with pytest.raises(ValueError, match="needs a convolution"):
        explainer(flat, "scorecam")


# === Deletion, insertion, likeness ===


def rectangle_net():
    """Class 1 scores the mean of BOX."""
    top, left, bottom, right = BOX
    kernel = np.zeros((HEIGHT, WIDTH, 3, 2), np.float32)
    kernel[top:bottom, left:right, :, 1] = 1 / (32 * 3 * (bottom - top) * (right - left))
    net = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), L.Flatten(), L.Dense(2)])
    net.layers[-1].set_weights([kernel.reshape(-1, 2), np.zeros(2, np.float32)])
    return net


def test_curves_equal_a_pixel_loop(model, images, rng):
    heat, colour = rng.normal(size=(HEIGHT, WIDTH)).round(1), np.array([9.0, 8, 7], np.float32)
    fractions = np.linspace(0, 1, 6, dtype=np.float32)
    found = deletion_insertion(Predictor(model), images[0], heat, 2, colour, fractions, 4)
    places = sorted(np.ndindex(HEIGHT, WIDTH), key=lambda place: -heat[place])
    for step, fraction in enumerate(fractions):
        hidden, shown = images[0].copy(), np.broadcast_to(colour, images[0].shape).copy()
        for place in places[: round(float(fraction) * HEIGHT * WIDTH)]:
            hidden[place], shown[place] = colour, images[0][place]
        for curve, picture in zip(found, (hidden, shown), strict=True):
            expected = tf.nn.softmax(model(picture[None]))[0, 2]
            assert curve[step] == pytest.approx(float(expected), abs=1e-5)


def test_a_map_that_knows_beats_one_that_does_not(rng):
    net, image = rectangle_net(), np.full((HEIGHT, WIDTH, 3), 250, np.float32)
    fractions = np.linspace(0, 1, 21, dtype=np.float32)
    knows = np.zeros((HEIGHT, WIDTH))
    knows[BOX[0] : BOX[2], BOX[1] : BOX[3]] = 1
    areas = []
    for heat in (knows, rng.normal(size=knows.shape), -knows):
        curves = deletion_insertion(Predictor(net), image, heat, 1, np.zeros(3), fractions)
        areas.append([np.trapezoid(curve, fractions) for curve in curves])
    deletion, insertion = np.transpose(areas)
    assert (np.diff(deletion) > 0.02).all()
    assert (np.diff(insertion) < -0.02).all()


def test_rank_correlation_equals_scipy_s(rng):
    a, b = rng.normal(size=(2, 3, 7, 9)).round(1)
    expected = [scipy.stats.spearmanr(x, y, axis=None).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, rtol=1e-5)
    assert rank_correlation(np.ones((1, 2, 2)), [[[1, 2], [3, 4]]]).tolist() == [0]


def test_faithfulness_as_a_whole(images, tmp_path):
    net = small()
    weights = [w.copy() for w in net.get_weights()]
    methods = ("guided", "saliency", "random")
    found = faithfulness(net, images, methods, CLASSES, steps=4)
    assert found.layers == ("logits", "fc", "conv2", "conv1")
    assert found.cascading.shape == found.independent.shape == (3, 2, 4)
    np.testing.assert_array_equal(found.maps, explanations(net, images, methods, CLASSES))
    np.testing.assert_allclose(found.cascading[2], 1, atol=1e-6)  # noise doesn't mind the net
    assert found.cascading[:2, :, -1].mean() < 0.6  # maps do
    # Once all layers are shuffled, the order no longer matters; the first one is the same in both.
    np.testing.assert_allclose(found.cascading[..., 0], found.independent[..., 0], atol=1e-5)
    copy = FlatCopy(net).model
    for _ in randomized(copy, "cascading", 0):
        saliency = explanations(copy, images, ("saliency",), CLASSES)[0]
        break
    np.testing.assert_allclose(
        found.cascading[1, :, 0], rank_correlation(found.maps[1], saliency), atol=1e-4
    )
    np.testing.assert_allclose(found.similarity, found.similarity.swapaxes(0, 1))
    np.testing.assert_allclose(found.similarity[[0, 1, 2], [0, 1, 2]], 1, atol=1e-6)
    np.testing.assert_allclose(
        found.deletion[:, :, 0], [found.baseline_probabilities] * 3, atol=1e-6
    )
    np.testing.assert_allclose(
        found.insertion[:, :, -1], [found.baseline_probabilities] * 3, atol=1e-6
    )
    area = sum((found.deletion[0, 0, i] + found.deletion[0, 0, i + 1]) / 8 for i in range(4))
    assert found.areas()["deletion"][0, 0] == pytest.approx(area, rel=1e-5)
    for old, new in zip(weights, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    loaded = zf.Faithfulness.load(found.save(tmp_path / "found.npz"))
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


@pytest.mark.slow
def test_the_arguments_of_faithfulness_matter(model, images):
    usual = {"methods": "guided", "classes": CLASSES, "steps": 3, "randomize": False}
    found = faithfulness(model, images, **usual)
    assert found.layers == ()
    assert found.cascading.size == 0
    assert not np.allclose(
        found.deletion, faithfulness(model, images, **usual | {"fill_value": 255}).deletion
    )
    assert not np.allclose(found.maps, faithfulness(model, images, **usual | {"classes": 0}).maps)
    many = faithfulness(model, images, **usual | {"batch_size": 2})
    np.testing.assert_allclose(found.deletion, many.deletion, atol=1e-5)
    first, second = (
        faithfulness(model, images, **usual | {"randomize": True, "seed": seed}) for seed in (0, 1)
    )
    assert not np.allclose(first.cascading, second.cascading)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ()}, r"one or more methods.*Received: methods=\(\)"),
        ({"methods": ("guided", "guided")}, "each once"),
        ({"methods": "lime"}, "method='lime'"),
        ({"steps": 0}, "at least 1. Received: steps=0"),
        ({"fill_value": "blur"}, "fill_value='blur'"),
        ({"classes": [1, 2, 3]}, r"classes=\[1, 2, 3\]"),
    ],
)
def test_bad_input(model, images, change, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        faithfulness(model, images, **{"methods": "guided", "randomize": False} | change)


def test_a_cam_weighs_maps_of_places_not_the_head(images):
    """Of a net whose classes a 1 x 1 convolution makes after pooling, as MobileNets do."""
    pixels = keras.Input(images.shape[1:])
    x = L.Conv2D(4, 3, activation="relu", name="c")(pixels)
    x = L.Conv2D(3, 1, name="preds")(L.GlobalAveragePooling2D(keepdims=True)(x))
    model = keras.Model(pixels, L.Softmax()(L.Reshape((3,))(x)))
    chosen = zf.explanations(model, images, "gradcam")
    settings = zf.Settings(baselines={"layer": "c"})
    np.testing.assert_allclose(chosen, zf.explanations(model, images, "gradcam", settings=settings))
    assert np.ptp(np.asarray(chosen)[0, 0]) > 0

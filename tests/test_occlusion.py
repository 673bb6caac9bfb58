"""Occlusion against a net run by hand, image by image, in NumPy loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

import zfkeras as zf
from zfkeras.analysis import occlusion as module, painting
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.occlusion import occlusion
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.graph.heads import ends_in_softmax

import networks

HEIGHT, WIDTH, CLASSES = 13, 18, 4
BOX = (3, 7, 9, 12)  # top, left, bottom, right of the rectangle that class 1 looks at


def small_net(activation=None):
    keras.utils.set_random_seed(3)
    pixels = keras.Input((HEIGHT, WIDTH, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 64, offset=-2)(pixels)
    x = keras.layers.Conv2D(5, (3, 2), strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(6, 2, activation="relu", name="conv2")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(pixels, keras.layers.Dense(CLASSES, activation=activation)(x))


def rectangle_net():
    """Class 0 always scores 0.5; class 1 scores the mean of BOX over 255."""
    top, left, bottom, right = BOX
    kernel = np.zeros((HEIGHT, WIDTH, 3, 2), np.float32)
    kernel[top:bottom, left:right, :, 1] = 1 / (255 * 3 * (bottom - top) * (right - left))
    model = keras.Sequential([
        keras.Input((HEIGHT, WIDTH, 3)),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ])  # fmt: skip
    model.layers[-1].set_weights([kernel.reshape(-1, 2), np.array([0.5, 0], np.float32)])
    return model


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, HEIGHT, WIDTH, 3)).astype(np.float32)


def painted(image, row, column, patch, colour):
    """One occluded image, pixel by pixel; `colour` may be a picture."""
    image, colour = image.copy(), np.broadcast_to(colour, image.shape)
    top, left = row - patch[0] // 2, column - patch[1] // 2
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if top <= y < top + patch[0] and left <= x < left + patch[1]:
                image[y, x] = colour[y, x]
    return image


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


# === The occluder ===


@pytest.mark.parametrize("patch", [(1, 1), (3, 4), (4, 3), (5, 50), (40, 50)])
def test_occlude_against_loops(images, patch):
    rows, columns = np.array([0, HEIGHT + 1]), np.array([WIDTH - 1, 5])
    hidden = painting.occlude(images, rows, columns, patch, 7.0).numpy()
    for i in range(2):
        np.testing.assert_array_equal(
            hidden[i], painted(images[i], rows[i], columns[i], patch, 7.0)
        )


def test_occlude_traced_with_tensors_and_other_types(images):
    """What the exported signature does: own size and colour for each image, uint8 pixels."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def traced(pixels):
        sizes = (tf.constant([3, 6]), tf.constant([4, 1]))
        colours = tf.constant([10, 20])[:, None, None, None]
        return painting.occlude(pixels, tf.constant([2, 9]), tf.constant([17, 0]), sizes, colours)

    pixels = images.astype(np.uint8)
    hidden = traced(pixels).numpy()
    assert hidden.dtype == np.uint8
    np.testing.assert_array_equal(hidden[0], painted(pixels[0], 2, 17, (3, 4), 10))
    np.testing.assert_array_equal(hidden[1], painted(pixels[1], 9, 0, (6, 1), 20))


@given(length=st.integers(1, 60), size=st.integers(1, 70), data=st.data())
@settings(deadline=None)
def test_every_pixel_is_covered_by_a_regular_grid(length, size, data):
    step = data.draw(st.integers(1, size))
    centres = painting.centres(length, size, step)
    covered = painting.covers(centres, np.arange(length), size)
    assert covered.any(axis=0).all()
    assert set(np.diff(centres)) <= {step}
    np.testing.assert_array_equal(centres[centres < length], np.arange(0, length, step))
    assert (centres >= length).sum() <= 1


def test_the_papers_map_is_28_by_28():
    assert len(painting.centres(224, 45, 8)) == 28


# === What it shows ===


def blurred_by_hand(image, sigma):
    """Every pixel as a weighted mean of the pixels around it, mirrored at the borders."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None] ** 2) / sigma**2)
    margins = np.pad(image.astype(float), ((reach, reach), (reach, reach), (0, 0)), "symmetric")
    result = np.empty(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            around = margins[y : y + len(offsets), x : x + len(offsets)]
            result[y, x] = np.einsum("ijc,ij->c", around, weights / weights.sum())
    return result


def test_blur_against_loops(images):
    """Fractions stay, images and colours don't mix, and the shorter side counts."""
    images = images / 7
    for patch, sigma in (((4, 7), 1.0), ((11, 6), 1.5)):
        shown = painting.paint(images, "blur", patch)
        assert shown.dtype == np.float32
        for one, image in zip(shown, images, strict=True):
            np.testing.assert_allclose(one, blurred_by_hand(image, sigma), rtol=1e-4)


def test_blur_may_reach_beyond_the_image(images):
    shown = painting.paint(images, "blur", (90, 200))
    means = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    np.testing.assert_allclose(shown, means, rtol=0.05)


def test_paint_keeps_colours_small(images):
    for fill_value in (3, (1, 2, 3), "mean"):
        assert painting.paint(images, fill_value, (4, 4)).shape == (2, 1, 1, 3)


def test_without_an_occluder_there_is_no_blur(images):
    with pytest.raises(ValueError, match="3 numbers or \"mean\". Received: fill_value='blur'"):
        painting.paint(images, "blur")


# === The engine against loops ===


def by_hand(model, image, rows, columns, patch, colour, layer):
    """Scores (R, S, classes) and maps (R, S, h, w, channels), one image at a time."""
    tapped = keras.Model(model.input, [model.outputs[0], model.get_layer(layer).output])
    scores, maps = [], []
    for row in rows:
        for column in columns:
            one = painted(image, row, column, patch, colour)[None]
            score, feature_maps = tapped(one)
            scores.append(score.numpy()[0])
            maps.append(feature_maps.numpy()[0])
    shape = (len(rows), len(columns))
    return np.reshape(scores, (*shape, -1)), np.reshape(maps, (*shape, *maps[0].shape))


def test_everything_against_loops(model, images):
    found = occlusion(
        model, images, (4, 7), (3, 5), fill_value=30, layer="conv2", classes=[2, 0], batch_size=5
    )
    assert found.rows.tolist() == [0, 3, 6, 9, 12]
    assert found.columns.tolist() == [0, 5, 10, 15]
    for i, image in enumerate(images):
        whole = by_hand(model, image, [-99], [-99], (1, 1), 0, "conv2")
        channel = whole[1][0, 0].sum(axis=(0, 1)).argmax()
        assert found.channel[i] == channel
        scores, maps = by_hand(model, image, found.rows, found.columns, (4, 7), 30, "conv2")
        probabilities = np.apply_along_axis(softmax, -1, scores)
        np.testing.assert_allclose(
            found.probabilities[i], probabilities[..., [2, 0]], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_array_equal(found.predicted[i], scores.argmax(-1))
        np.testing.assert_allclose(
            found.activation[i], maps[..., channel].sum(axis=(-2, -1)), rtol=1e-4
        )
        np.testing.assert_allclose(
            found.baseline_probabilities[i], softmax(whole[0][0, 0])[[2, 0]], rtol=1e-4
        )
        assert found.baseline_predicted[i] == whole[0][0, 0].argmax()
        np.testing.assert_allclose(
            found.baseline_activation[i], whole[1][0, 0, ..., channel].sum(), rtol=1e-4
        )


def test_the_minimum_lies_on_the_rectangle(rng):
    """By hand computation, the dip and the flip of the predicted class."""
    image = np.full((1, HEIGHT, WIDTH, 3), 255.0)
    found = occlusion(rectangle_net(), image, (6, 5), 1, fill_value=0, classes=1, softmax=False)
    top, left, bottom, right = BOX
    area = (bottom - top) * (right - left)
    for r, row in enumerate(found.rows):
        for s, column in enumerate(found.columns):
            hidden_rows = max(0, min(row - 3 + 6, bottom) - max(row - 3, top))
            hidden_columns = max(0, min(column - 2 + 5, right) - max(column - 2, left))
            expected = 1 - hidden_rows * hidden_columns / area
            np.testing.assert_allclose(found.probabilities[0, r, s, 0], expected, atol=1e-5)
            assert found.predicted[0, r, s] == int(expected > 0.5)
    lowest = np.argwhere(found.probabilities[0, ..., 0] < 1e-5)
    np.testing.assert_array_equal(lowest, [[top + 3, left + 2]])
    assert found.baseline_predicted[0] == 1


def test_the_heat_map_is_the_mean_of_the_occluders_on_a_pixel(model, images):
    found = occlusion(model, images, (4, 7), (3, 5))
    heat = found.heat_map()
    assert heat.shape == images.shape[:3]
    for y in range(HEIGHT):
        for x in range(WIDTH):
            on_it = [
                found.probabilities[:, r, s, 0]
                for r, row in enumerate(found.rows)
                for s, column in enumerate(found.columns)
                if row - 2 <= y < row + 2 and column - 3 <= x < column + 4
            ]
            np.testing.assert_allclose(heat[:, y, x], np.mean(on_it, axis=0), rtol=1e-5)
    doubled = found.heat_map(2 * found.probabilities[..., 0])
    np.testing.assert_allclose(doubled, 2 * heat, rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(2, 5, 4\).*values with shape=\(5, 4\)"):
        found.heat_map(found.probabilities[0, ..., 0])


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_do_not_matter(model, images, batch_size):
    one, other = (
        occlusion(model, images, 5, 4, layer="conv2", batch_size=size) for size in (16, batch_size)
    )
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5)
    np.testing.assert_allclose(one.activation, other.activation, rtol=1e-5)


def test_images_do_not_see_each_other(model, images):
    both = occlusion(model, images, 5, 4, layer="conv2")
    swapped = occlusion(model, images[::-1], 5, 4, layer="conv2")
    np.testing.assert_allclose(both.probabilities, swapped.probabilities[::-1], rtol=1e-5)
    np.testing.assert_array_equal(both.channel, swapped.channel[::-1])


def test_batch_size_bounds_what_the_net_is_given(images):
    """The largest batch that reaches the model, forward and baseline alike."""
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda n: seen.append(int(n)), [tf.shape(x)[0]], [])
            return x

    pixels = keras.Input((HEIGHT, WIDTH, 3))
    scores = keras.layers.Dense(3)(keras.layers.Flatten()(Spy()(pixels)))
    occlusion(keras.Model(pixels, scores), images, 9, 9, batch_size=3, softmax=True)
    assert max(seen) <= 3
    assert sum(seen) == 2 + 2 * 2 * 3


@pytest.mark.parametrize(
    "changed",
    [
        {"patch_size": 6}, {"patch_size": (5, 6)}, {"strides": 5}, {"strides": (4, 5)},
        {"fill_value": 0.0}, {"fill_value": "mean"}, {"fill_value": (128, 128, 0)},
        {"fill_value": "blur"},
        {"classes": 3}, {"softmax": False},
    ],
)  # fmt: skip
def test_every_parameter_changes_the_result(model, images, changed):
    start = {"patch_size": 5, "strides": 4, "classes": 1}
    plain, other = (occlusion(model, images, **kwargs) for kwargs in (start, start | changed))
    same_shape = plain.probabilities.shape == other.probabilities.shape
    assert not (same_shape and np.allclose(plain.probabilities, other.probabilities))


def test_layer_changes_the_activation(model, images):
    one, other = (occlusion(model, images, 5, 4, layer=name) for name in ("conv1", "conv2"))
    assert not np.allclose(one.activation, other.activation)
    none = occlusion(model, images, 5, 4)
    assert none.activation is none.channel is none.baseline_activation is None


def test_classes_may_differ_by_image(model, images):
    per_image = occlusion(model, images, 5, 4, classes=[[3, 1], [0, 2]])
    every = occlusion(model, images, 5, 4, classes=range(CLASSES))
    np.testing.assert_allclose(per_image.probabilities[0], every.probabilities[0][..., [3, 1]])
    np.testing.assert_allclose(per_image.probabilities[1], every.probabilities[1][..., [0, 2]])
    np.testing.assert_allclose(every.probabilities.sum(-1), 1, rtol=1e-5)


def test_default_class_is_the_predicted_one(model, images):
    found = occlusion(model, images, 5, 4)
    np.testing.assert_array_equal(found.classes[:, 0], found.baseline_predicted)


def test_the_fill_is_painted_before_the_models_preprocessing(model):
    """Hiding a part of a uniform image with its own colour changes nothing."""
    grey = np.full((1, HEIGHT, WIDTH, 3), 77.0)
    for fill_value in (77, "mean", (77, 77, 77)):
        found = occlusion(model, grey, 5, 4, fill_value=fill_value)
        expected = np.broadcast_to(found.baseline_probabilities[:, None, None], (1, 4, 5, 1))
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)


def test_mean_fill_hides_each_image_with_its_own_colour(model):
    """Two uniform images of different colours: neither changes."""
    flat = np.stack([np.full((HEIGHT, WIDTH, 3), value) for value in (40.0, 200.0)])
    found = occlusion(model, flat, 5, 4, fill_value="mean")
    expected = np.broadcast_to(found.baseline_probabilities[:, None, None], (2, 4, 5, 1))
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)


def test_mean_fill_is_each_images_own_mean_colour(model, images):
    found = occlusion(model, images, 5, 5, fill_value="mean")
    np.testing.assert_allclose(found.fill_value[:, 0, 0], images.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
def test_blur_shows_each_image_itself(model, images, method):
    """Against loops, at every place, over the borders too."""
    found = occlusion(model, images, (4, 7), (3, 5), "blur", "conv2", [2, 0], method, softmax=False)
    assert found.fill_value.shape == images.shape
    for i, image in enumerate(images):
        blur = blurred_by_hand(image, 1.0)
        scores, maps = by_hand(model, image, found.rows, found.columns, (4, 7), blur, "conv2")
        seen = np.ones(scores.shape[:2], bool) if method != "coarse" else found.evaluated[i]
        np.testing.assert_allclose(
            found.probabilities[i][seen], scores[..., [2, 0]][seen], rtol=1e-3, atol=1e-4
        )
        total = maps[..., found.channel[i]].sum(axis=(-2, -1))
        np.testing.assert_allclose(found.activation[i][seen], total[seen], rtol=1e-4)


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
def test_blur_hides_nothing_of_a_uniform_image(model, method):
    flat = np.stack([np.full((HEIGHT, WIDTH, 3), value) for value in (40.0, 200.0)])
    found = occlusion(model, flat, 5, 4, fill_value="blur", method=method)
    expected = np.broadcast_to(found.baseline_probabilities[:, None, None], (2, 4, 5, 1))
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)


def test_an_occluder_larger_than_the_image_hides_all_of_it(model, images):
    found = occlusion(model, images, patch_size=(60, 80), strides=60, fill_value=9)
    flat = model(np.full((1, HEIGHT, WIDTH, 3), 9.0)).numpy()[0]
    assert found.predicted.tolist() == [[[flat.argmax()]]] * 2
    assert found.probabilities.shape == (2, 1, 1, 1)


def test_uint8_and_float_images_agree(model, images):
    one, other = (occlusion(model, images.astype(kind), 5, 4) for kind in (np.uint8, np.float64))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


# === The map alone ===


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
def test_without_scores_there_is_the_map_alone(model, images, method):
    """Against loops; beyond the layer nothing is computed, nor known."""
    found = occlusion(
        model, images, (4, 7), (3, 5), 30, "conv2", method=method, scores=False, batch_size=5
    )
    for i, image in enumerate(images):
        whole = by_hand(model, image, [-99], [-99], (1, 1), 0, "conv2")[1][0, 0].sum(axis=(0, 1))
        assert found.channel[i] == whole.argmax()
        np.testing.assert_allclose(found.baseline_activation[i], whole.max(), rtol=1e-4)
        maps = by_hand(model, image, found.rows, found.columns, (4, 7), 30, "conv2")[1]
        seen = np.ones(maps.shape[:2], bool) if method != "coarse" else found.evaluated[i]
        total = maps[..., found.channel[i]].sum(axis=(-2, -1))
        np.testing.assert_allclose(found.activation[i][seen], total[seen], rtol=1e-4)
    assert found.classes is found.probabilities is found.predicted is None
    assert found.baseline_probabilities is found.baseline_predicted is None
    assert found.projection.shape == images.shape
    np.testing.assert_array_equal(found.response, found.activation)
    np.testing.assert_array_equal(found.baseline_response, found.baseline_activation)
    np.testing.assert_array_equal(found.heat_map(), found.heat_map(found.activation))


def test_with_scores_the_first_class_goes_before_the_map(model, images):
    found = occlusion(model, images, 5, 4, layer="conv2", classes=[2, 0])
    np.testing.assert_array_equal(found.response, found.probabilities[..., 0])
    np.testing.assert_array_equal(found.baseline_response, found.baseline_probabilities[:, 0])


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
def test_without_scores_the_layers_above_are_never_called(images, method):
    calls = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda: calls.append(1), [], [])
            return x

    pixels = keras.Input((HEIGHT, WIDTH, 3))
    maps = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(pixels)
    scores = keras.layers.Dense(3)(keras.layers.Flatten()(Spy()(maps)))
    model = keras.Model(pixels, scores)
    occlusion(model, images, 5, 4, layer="conv", method=method)
    assert calls
    calls.clear()
    occlusion(model, images, 5, 4, layer="conv", method=method, scores=False, others=images[::-1])
    assert not calls


def test_without_scores_the_model_need_not_classify(images):
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 3, name="maps")(pixels))
    found = occlusion(model, images, 5, 4, layer="maps", scores=False)
    assert found.activation.shape == (2, 4, 5)


# === Softmax or logits ===


def test_a_softmax_is_neither_missed_nor_applied_twice(images):
    logits, probabilities = small_net(), small_net("softmax")
    one, other = (occlusion(m, images, 5, 4, classes=1) for m in (logits, probabilities))
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-4)


@pytest.mark.parametrize(
    "last",
    [keras.layers.Softmax(), keras.layers.Activation("softmax"), keras.ops.softmax],
    ids=["layer", "activation", "operation"],
)
def test_softmax_is_recognised(last):
    pixels = keras.Input((4, 5, 3))
    scores = keras.layers.Dense(2)(keras.layers.Flatten()(pixels))
    model = keras.Model(pixels, last(scores))
    assert ends_in_softmax(model)
    assert ends_in_softmax(keras.Sequential([keras.Input((4, 5, 3)), model]))
    assert not ends_in_softmax(keras.Model(pixels, scores))


# === Any Keras model ===


def test_sequential_and_nested_models(model, images):
    nested = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), model])
    one, other = (occlusion(m, images, 5, 4, layer="conv2") for m in (model, nested))
    np.testing.assert_allclose(one.activation, other.activation, rtol=1e-5)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5)


def test_subclassed_models_without_a_layer(images):
    class Own(keras.Model):
        def call(self, x):
            return tf.reduce_mean(x, axis=(1, 2))

    with pytest.raises(ValueError, match="softmax=True or False"):
        occlusion(Own(), images, 5, 4)
    found = occlusion(Own(), images, 5, 4, softmax=False)
    np.testing.assert_allclose(
        found.baseline_probabilities[:, 0], images.mean((1, 2)).max(-1), 1e-5
    )


def test_the_model_is_left_alone(model, images):
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    weights = [w.copy() for w in model.get_weights()]
    occlusion(model, images, 5, 4, layer="conv2")
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


# === Files ===


def test_save_and_load(tmp_path, model, images):
    for options in (
        {"layer": None}, {"layer": "conv2"}, {"layer": "conv2", "fill_value": "blur"},
        {"layer": "conv2", "scores": False, "method": "coarse"},
    ):  # fmt: skip
        found = occlusion(model, images, (5, 6), 4, **options)
        loaded = Occlusion.load(found.save(tmp_path / "occlusion.npz"))
        for name, value in found.flat().items():
            other = getattr(loaded, name)
            assert type(other) is type(value), name
            np.testing.assert_array_equal(other, value)
        np.testing.assert_array_equal(loaded.heat_map(), found.heat_map())


@pytest.mark.parametrize("content", [b"", b"garbage", "npz"])
def test_load_names_a_wrong_file(tmp_path, content):
    path = tmp_path / "wrong.npz"
    if content == "npz":
        np.savez(path, rows=np.arange(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no occlusion.*wrong\.npz"):
        Occlusion.load(path)


# === Bad input ===


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": np.zeros((HEIGHT, WIDTH, 3))}, r"\(None, 13, 18, 3\).*shape=\(13, 18, 3\)"),
        ({"images": np.zeros((1, WIDTH, HEIGHT, 3))}, r"shape=\(1, 18, 13, 3\)"),
        ({"images": np.zeros((0, HEIGHT, WIDTH, 3))}, r"one or more.*shape=\(0, 13"),
        ({"images": np.full((1, HEIGHT, WIDTH, 3), np.nan)}, "NaN.*702 such values"),
        ({"strides": 0}, "strides=0"),
        ({"strides": 2.5}, "strides=2.5"),
        ({"strides": (1, 2, 3)}, r"strides=\(1, 2, 3\)"),
        ({"strides": 6}, "skip pixels.*patch_size=5, strides=6"),
        ({"patch_size": (5, -1)}, r"patch_size=\(5, -1\)"),
        ({"fill_value": "smooth"}, '"mean" or "blur". Received: fill_value=\'smooth\''),
        ({"fill_value": (1, 2)}, r"3 numbers.*fill_value=\(1, 2\)"),
        ({"fill_value": float("nan")}, "fill_value=nan"),
        ({"layer": "conv9"}, "conv9"),
        ({"classes": 4}, r"0\.\.3.*classes=4"),
        ({"classes": [-1]}, r"classes=\[-1\]"),
        ({"classes": [0.5]}, r"classes=\[0\.5\]"),
        ({"classes": np.zeros((3, 1), int)}, r"shape \(2, K\)"),
        ({"method": "fast"}, "one of auto, plain.*method='fast'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"scores": False}, "nothing to record.*Received: scores=False, layer=None"),
        (
            {"scores": False, "layer": "conv2", "classes": 1},
            "classes=None.*classes=1",
        ),
        ({"scores": False, "layer": "conv2", "softmax": False}, "Received.*softmax=False"),
    ],
)
def test_bad_input(model, images, changed, message):
    arguments = {"images": images, "patch_size": 5, "strides": 4} | changed
    with pytest.raises(ValueError, match=f"(?s){message}"):
        occlusion(model, **arguments)


def test_models_that_do_not_classify(images):
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    maps = keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels))
    with pytest.raises(ValueError, match=r"does not classify.*shape=\(None, 11, 16, 2\)"):
        occlusion(maps, images, 5, 4)
    vectors = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"takes no images.*input_shape=\(None, 7\)"):
        occlusion(vectors, images, 5, 4)


def test_public_names():
    import zfkeras

    assert zfkeras.occlusion is module.occlusion
    assert zfkeras.Occlusion is Occlusion


# === Kept from call to call ===


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
def test_plans_are_kept_and_follow_the_weights(images, method, monkeypatch):
    """By an object and by `occlusion` for the same settings; other settings need another plan."""
    planned = []
    monkeypatch.setattr(module, "Sweep", lambda *a: planned.append(a) or Sweep(*a))
    own = keras.models.clone_model(networks.chain())
    own.set_weights(networks.chain().get_weights())
    photos = networks.images(own)
    options = {"patch_size": (5, 4), "strides": 4, "layer": "conv2", "method": method}
    occluder = zf.Occluder(own, **options)
    first, second = occluder(photos[:1]), occluder(photos[1:])
    both = occlusion(own, photos, **options)
    for found, expected in ((first, both.probabilities[:1]), (second, both.probabilities[1:])):
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    own.get_layer("conv1").kernel.assign(-own.get_layer("conv1").kernel)
    changed = occlusion(own, photos, **options)
    assert np.abs(changed.probabilities - both.probabilities).max() > 1e-3
    np.testing.assert_allclose(occluder(photos).probabilities, changed.probabilities, atol=1e-6)
    assert len(planned) == (method != "plain")
    own.get_layer("conv1").activation = keras.activations.elu
    other = occluder(photos)
    assert np.abs(other.probabilities - changed.probabilities).max() > 1e-4
    fresh = keras.models.clone_model(own)
    fresh.set_weights(own.get_weights())
    expected = occlusion(fresh, photos, **options | {"method": "plain"}).probabilities
    if method != "coarse":
        np.testing.assert_allclose(other.probabilities, expected, atol=1e-5)


def test_the_faster_method_is_taken():
    """The incremental one where small boxes change in large maps, from some places on."""
    pixels = keras.Input((96, 90, 3))
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(pixels)
    for _ in range(3):
        x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    deep = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    images = np.random.default_rng(1).uniform(0, 255, (8, 96, 90, 3)).astype("float32")
    assert occlusion(deep, images, 9, 9, softmax=False).method == "incremental"
    assert occlusion(deep, images[:1], 90, 90, softmax=False).method == "plain"
    dense = keras.Sequential(
        [keras.Input((96, 90, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    assert occlusion(dense, images[:1], 30, 30).method == "plain"


def test_what_cannot_be_walked_is_looked_at_plainly(images):
    class Own(keras.Model):
        def call(self, x):
            return keras.ops.mean(x, (1, 2))

    found = occlusion(Own(), images, 5, 4, scores="raw")
    assert found.method == "plain"


def test_results_say_how_they_were_found(model, images, tmp_path):
    for method in ("plain", "incremental", "coarse"):
        found = occlusion(model, images, 5, 4, method=method)
        assert Occlusion.load(found.save(tmp_path / "found.npz")).method == method
        assert found.border == "cover"


@pytest.mark.parametrize("method", ["plain", "incremental"])
def test_inside_the_occluder_lies_wholly_on_the_image(model, images, method):
    """The grid of other tools: windows from the upper left corner on."""
    options = {"fill_value": 90, "softmax": False, "method": method}
    found = occlusion(model, images, (5, 4), (4, 3), border="inside", **options)
    tops, lefts = range(0, HEIGHT - 4, 4), range(0, WIDTH - 3, 3)
    hidden = np.stack([images] * len(tops) * len(lefts)).astype("float32")
    hidden = hidden.reshape(len(tops), len(lefts), *images.shape)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            hidden[i, j, :, top : top + 5, left : left + 4] = 90
    expected = model.predict(hidden.reshape(-1, *images.shape[1:]), verbose=0)
    expected = expected.reshape(*hidden.shape[:3], -1).transpose(2, 0, 1, 3)
    expected = np.take_along_axis(expected, found.classes[:, None, None], 3)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    never = np.ones((HEIGHT, WIDTH), bool)
    never[: max(tops) + 5, : max(lefts) + 4] = False
    assert never.any()
    heat = found.heat_map()
    np.testing.assert_array_equal(
        heat[:, never], np.repeat(found.baseline_response[:, None], never.sum(), 1)
    )
    assert np.isnan(found.heat_map(found.response)[:, never]).all()
    assert np.isfinite(heat).all()
    assert found.border == "inside"


def test_an_occluder_that_does_not_fit_inside(model, images):
    with pytest.raises(ValueError, match=r"at most 13 with border='inside'.*patch_size=14"):
        occlusion(model, images, 14, 4, border="inside")
    with pytest.raises(ValueError, match="one of cover, inside.*border='over'"):
        occlusion(model, images, 5, 4, border="over")


def test_no_call_is_traced_anew(model, images, caplog):
    """Whatever the number of images: TensorFlow warns of what is traced again and again."""
    for count in (1, 3, 2, 1, 2, 3, 1, 3, 2, 1, 2, 3):
        photos = np.repeat(images, 2, axis=0)[:count]
        for method in ("plain", "incremental"):
            occlusion(model, photos, 5, 4, method=method, layer="conv2", top_others=0)
    assert "retracing" not in caplog.text


@pytest.mark.parametrize("method", ["plain", "incremental"])
def test_an_occluder_takes_images_of_any_size_that_the_model_takes(method, rng):
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="c")(pixels)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3)(x))
    model = networks.randomize(keras.Model(pixels, keras.layers.Dense(3)(x)))
    occluder = zf.Occluder(model, 5, 4, layer="c", method=method)
    for size in ((16, 21), (23, 14)):
        photos = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
        expected = occlusion(model, photos, 5, 4, layer="c")
        found = occluder(photos)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.activation, expected.activation, rtol=1e-4)

"""Nets of grey pictures and nets of any size, in Python, through every command, and served."""

import dataclasses
import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image
from tiers import first_by_default
from typer.testing import CliRunner

import zfkeras as zf
from zfkeras import image
from zfkeras.cli import app
from zfkeras.data.inputs import fixed_size, picture_shape
from zfkeras.data.preprocess import in_channels
from zfkeras.report import charts, figures

L = keras.layers
SIZE = (24, 30)


def net(height, width, channels):
    keras.utils.set_random_seed(7)
    pixels = keras.Input((height, width, channels))
    x = L.Rescaling(1 / 255)(pixels)
    x = L.Conv2D(5, 5, activation="relu", name="conv1")(x)
    x = L.Conv2D(4, 3, activation="relu", name="conv2")(L.MaxPooling2D(2)(x))
    return keras.Model(pixels, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


NETS = {"grey": (*SIZE, 1), "any": (None, None, 3), "any-grey": (None, None, 1)}
FLAGS = {"grey": [], "any": ["--image-size", "24,30"], "any-grey": ["--image-size", "24,30"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Nets, and colourful pictures of their size in two classes, with landmarks."""
    root = tmp_path_factory.mktemp("sizes")
    for name, shape in NETS.items():
        net(*shape).save(root / f"{name}.keras")
    rng, marks = np.random.default_rng(1), []
    for number in range(4):
        name = f"{'cat' if number < 2 else 'dog'}/{number}.png"
        image.save(root / "pictures" / name, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        marks.append({"file": name, "parts": {"eye": [8, 9 + number]}})
    (root / "pictures" / "marks.json").write_text(json.dumps(marks[1:3]))
    return root


def files(place):
    return sorted((place / "pictures").glob("*/*.png"))


def taken(place, name):
    """The pictures as the net takes them, by Pillow."""
    mode = "L" if "grey" in name else "RGB"
    found = np.stack([np.asarray(Image.open(file).convert(mode)) for file in files(place)])
    return found.reshape(len(found), *SIZE, -1).astype(np.float32)


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


# === One conversion to grey ===


def test_both_ways_to_grey_are_pillows(rng):
    colours = rng.integers(0, 256, (31, 17, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(colours).convert("L")).astype(int)
    grey = image.to_grey(colours)
    assert grey.shape == (31, 17, 1)
    assert abs(grey[..., 0] - expected).max() <= 1  # Pillow's weights are of 16 bits
    in_graph = in_channels(tf.constant(colours), 1).numpy()
    np.testing.assert_allclose(in_graph, colours @ [[0.299], [0.587], [0.114]], rtol=1e-5)
    plain = np.repeat(expected.astype(np.uint8)[..., None], 3, 2)  # grey stays what it is
    np.testing.assert_array_equal(image.to_grey(plain)[..., 0], expected)


# === A size for a net of any ===


def test_a_fixed_size_keeps_layers_weights_and_answers(rng):
    model = net(None, None, 3)
    images = rng.uniform(0, 255, (2, 24, 30, 3)).astype(np.float32)
    before = model.predict(images, verbose=0)
    fixed = fixed_size(model, (24, 30))
    assert picture_shape(fixed) == (24, 30, 3)
    assert model.input_shape == (None, None, None, 3)
    assert all(a is b for a, b in zip(model.layers[1:], fixed.layers[1:], strict=True))
    np.testing.assert_array_equal(fixed.predict(images, verbose=0), before)
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    a, b = (zf.DeconvNet(each).project(images, "conv2").pixels for each in (model, fixed))
    np.testing.assert_array_equal(a, b)
    assert fixed_size(fixed, (24, 30)).input_shape == (None, 24, 30, 3)
    assert fixed_size(model, None) is model


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match=r"Expected \(24, 30\).*Received: image_size=\(20, 30\)"):
        fixed_size(net(24, 30, 3), (20, 30))
    with pytest.raises(ValueError, match=r"Received: image_size=\(0, 30\)"):
        fixed_size(net(None, None, 3), (0, 30))
    with pytest.raises(ValueError, match=r"any size.*image_size=.*Received: model.input_shape="):
        picture_shape(net(None, None, 3))
    with pytest.raises(ValueError, match=r"1 or 3 channels. Received: model.input_shape="):
        picture_shape(net(24, 30, 4))


# === Through the commands ===


@pytest.mark.parametrize("name", NETS)
def test_project(place, name, tmp_path):
    out = tmp_path / "out"
    run("project", *files(place), "--model", place / f"{name}.keras", "--output", out, "--json",
        "--layer", "conv2", "--channels", "2", *FLAGS[name])  # fmt: skip
    model = keras.models.load_model(place / f"{name}.keras")
    expected = zf.DeconvNet(model).project(taken(place, name), "conv2", channels=2)
    (arrays,) = out.glob("*.npz")
    found = zf.load_results(arrays)
    np.testing.assert_allclose(found.values, expected.values, rtol=0.02)
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=0.03 * expected.pixels.max())
    for sheet in out.glob("*.png"):
        assert image.load(sheet).std() > 0


@pytest.mark.parametrize("name", first_by_default(NETS))
def test_scores_are_the_nets(place, name, tmp_path):
    out = ["--output", tmp_path / "out", "--json"]
    model = ["--model", place / f"{name}.keras", *FLAGS[name]]
    net = keras.models.load_model(place / f"{name}.keras")
    expected = keras.ops.softmax(net.predict(taken(place, name), verbose=0)).numpy()
    told = json.loads(run("occlude", *files(place), *model, "--patch-size", 9, *out).stdout)
    whole = [one["whole"] for one in told]
    np.testing.assert_allclose(whole, expected.max(1), atol=2e-3)
    words = ["invariance", *files(place), "--layers", "conv2", "--kinds", "scale", *model, *out]
    np.testing.assert_allclose(json.loads(run(*words).stdout)["layers"]["p"], whole, atol=1e-4)
    words = ["compare", *files(place), "--methods", "guided,gradcam", "--steps", 3, *model, *out]
    np.testing.assert_allclose(json.loads(run(*words).stdout)["p"], whole, atol=1e-4)
    marks = place / "pictures" / "marks.json"
    words = ["correspond", marks, "--layers", "conv2", "--draws", 1, *model, *out]
    told = json.loads(run(*words).stdout)
    np.testing.assert_allclose([i["p"] for i in told["fig8"]["images"]], whole[1:3], atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_data_sets(place, name, tmp_path):
    file, data = place / f"{name}.keras", ["--data", place / "pictures", *FLAGS[name], "--json"]
    model = keras.models.load_model(file)
    told = json.loads(run("evaluate", file, *data).stdout)
    labels = np.repeat([0, 1], 2)
    answers = model.predict(_cropped(place, name), verbose=0)
    assert told["top1"] == (answers.argmax(1) == labels).mean()
    loss = keras.losses.sparse_categorical_crossentropy(labels, answers, from_logits=True)
    assert told["loss"] == pytest.approx(float(np.mean(loss)), rel=1e-3)
    run("top", "--model", file, *data, "--output", tmp_path / "top", "--layers", "conv1", "--k", 2)
    run("atlas", file, *data, "--output", tmp_path / "atlas", "--layers", "conv1", "--k", 2)
    assert (tmp_path / "atlas" / "index.html").exists()


def _cropped(place, name):
    """As the papers test: resized to 8/7, the centre cut out; by TensorFlow's own functions."""
    pictures = [tf.io.decode_png(file.read_bytes(), 3) for file in files(place)]
    large = [tf.image.resize(one, (27, 34), antialias=True)[1:25, 2:32] for one in pictures]
    images = tf.stack(large)
    return tf.image.rgb_to_grayscale(images) if "grey" in name else images


@pytest.mark.parametrize("name", first_by_default(NETS))
def test_export(place, name, tmp_path):
    run("export", place / f"{name}.keras", tmp_path / "net", "--json", *FLAGS[name])
    served = tf.saved_model.load(str(tmp_path / "net" / "1"))
    model = keras.models.load_model(place / f"{name}.keras")
    expected = keras.ops.softmax(model.predict(_cropped(place, name), verbose=0)).numpy()
    encoded = tf.constant([file.read_bytes() for file in files(place)])
    answer = served.signatures["classify"](image_bytes=encoded)
    found = tf.gather(answer["probabilities"], tf.argsort(answer["class_ids"]), batch_dims=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    asked = {"layer": tf.constant(["conv2"] * 4), "channel": tf.constant([2] * 4)}
    pixels = taken(place, name)
    answer = served.signatures["deconv_pixels"](pixels=tf.constant(pixels), **asked)
    projected = zf.DeconvNet(model).project(pixels, "conv2", channels=[2]).pixels[:, 0]
    np.testing.assert_allclose(answer["projection"], projected, rtol=1e-3, atol=1e-5)
    answer = served.signatures["deconv"](image_bytes=encoded, **asked)
    shown = tf.io.decode_png(answer["projection_bytes"][0])
    assert shown.shape == (*SIZE, pixels.shape[3])
    about = json.loads((tmp_path / "net" / "1" / "assets" / "zfkeras.json").read_text())
    assert (about["input_size"], about["channels"]) == ([24, 30], pixels.shape[3])


def test_a_net_of_any_size_takes_a_picture_as_large_as_it_is(place, tmp_path):
    model, out = place / "any.keras", tmp_path / "out"
    large = tmp_path / "large.png"
    image.save(large, np.random.default_rng(0).integers(0, 256, (37, 41, 3), dtype=np.uint8))
    run("project", large, "--model", model, "--output", out, "--json")
    (arrays,) = out.glob("*.npz")
    assert zf.load_results(arrays).pixels.shape[-3:] == (37, 41, 3)
    with pytest.raises(ValueError, match="Expected --image-size.*Received: pictures of"):
        raise run_error("project", large, files(place)[0], "--model", model, "--output", out)
    with pytest.raises(ValueError, match="Expected image_size=.*--image-size"):
        raise run_error("export", model, tmp_path / "net")


def run_error(*words):
    return CliRunner().invoke(app, [str(word) for word in words]).exception


def test_grey_is_drawn_in_grey(place, rng):
    """As the same pictures in three equal colours."""
    images = rng.integers(0, 256, (1, *SIZE, 1), dtype=np.uint8)
    found = zf.DeconvNet(keras.models.load_model(place / "grey.keras")).project(images, "conv2", 2)
    wide = dataclasses.replace(found, pixels=found.pixels.repeat(3, -1))
    drawn = [pixels_of(figures.projection(*each)) for each in
             ((found, images), (wide, images.repeat(3, -1)))]  # fmt: skip
    np.testing.assert_allclose(*drawn, atol=20)  # a percentile between more numbers
    drawn = [pixels_of(charts.show(Figure().subplots(), each).figure) for each in
             (images[0], images[0].repeat(3, -1))]  # fmt: skip
    np.testing.assert_array_equal(*drawn)


def pixels_of(figure):
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        return np.asarray(Image.open(file)).astype(int)

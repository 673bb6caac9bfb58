"""Pictures brought to the size of a net, by Pillow and by TensorFlow, in commands and served."""

import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiers import first_by_default
from typer.testing import CliRunner

import zfkeras as zf
from zfkeras import image
from zfkeras.cli import app
from zfkeras.data import preprocess
from zfkeras.data.folders import image_folder
from zfkeras.fitting import FITS, fit, placement

SIZE = (24, 30)


def smooth(height, width):
    """A colourful picture without an axis of symmetry, as smooth as a photograph."""
    small = np.random.default_rng(0x2F).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize("scale", [1.0, 8 / 7])
@pytest.mark.parametrize("shape", [(45, 61), (61, 45), (24, 30), (300, 290), (13, 9)])
def test_both_fit_alike(how, scale, shape):
    """But for Pillow's rounding to whole numbers, twice."""
    picture = np.asarray(smooth(*shape))
    ours = fit(picture, SIZE, how, scale).astype(float)
    theirs = preprocess.fitted(tf.constant(picture), SIZE, how, scale).numpy()
    assert ours.shape == theirs.shape == (*SIZE, 3)
    assert np.abs(ours - theirs).max() < 2


def test_stretched_pictures_are_whole_and_padded_ones_keep_their_shape():
    dot = np.zeros((40, 80, 3), np.uint8)
    dot[:, :8] = 255  # the left tenth
    assert fit(dot, 20, "stretch")[:, :2].min() > 200
    assert fit(dot, 20, "crop").max() == 0
    padded = fit(dot, 20, "pad")
    assert (padded[:5] == 128).all()
    assert (padded[15:] == 128).all()
    assert padded[5:15, :2].min() > 200
    for how in ("stretch", "pad"):
        np.testing.assert_array_equal(fit(dot, 20, how), fit(dot, 20, how, 8 / 7))
        found = preprocess.fitted(tf.constant(dot), (20, 20), how)
        np.testing.assert_allclose(found, fit(dot, 20, how), atol=1)


@pytest.mark.parametrize("how", FITS)
def test_places_move_as_pixels_do(how):
    dot = np.zeros((40, 80, 3), np.uint8)
    dot[18:22, 38:42] = 255
    scale, shift = placement((40, 80), (24, 30), how)
    row, column = np.array([20, 40]) * scale + shift
    fitted = fit(dot, (24, 30), how)[..., 0]
    found = np.argwhere(fitted > 0.75 * fitted.max()) + 0.5
    np.testing.assert_allclose(found.mean(0), [row, column], atol=0.6)


def test_a_panorama_does_not_fill_the_memory():
    """To cover 224 pixels it would be enlarged to 3.7 million pixels in length."""
    strip = tf.constant(np.tile(np.arange(20_000) % 251, (1, 1, 1)).reshape(1, -1, 1), tf.uint8)
    middle = preprocess.fitted(tf.repeat(strip, 3, -1), (224, 224))
    assert middle.shape == (224, 224, 3)
    # its two pixels in the middle, 9999 and 10000, fill it
    assert abs(float(middle.numpy()[112, 112, 0]) - 9_999.5 % 251) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("zoom",), "Expected crop, stretch or pad. Received: fit='zoom'"),
     (("crop", 0.5), "the scale must be 1 or more. Received: scale=0.5")],
)  # fmt: skip
def test_there_are_three_ways(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(np.zeros((3, 4, 3), np.uint8), 2, *arguments)
    with pytest.raises(ValueError, match=message):
        preprocess.fitted(tf.zeros((3, 4, 3), tf.uint8), (2, 2), *arguments)


# === Through commands and a served net ===


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A net and a photograph that was taken with the camera held upright."""
    root = tmp_path_factory.mktemp("reading")
    keras.utils.set_random_seed(7)
    pixels = keras.Input((*SIZE, 3))
    x = keras.layers.Conv2D(5, 5, activation="relu", name="conv")(
        keras.layers.Rescaling(1 / 255)(pixels)
    )
    scores = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(pixels, scores).save(root / "net.keras")
    a_quarter = Image.Exif()
    a_quarter[0x0112] = 6
    photo = encoded(smooth(300, 400), "JPEG", exif=a_quarter, quality=95)
    for number in range(2):
        (root / "data" / f"class{number}").mkdir(parents=True)
        (root / "data" / f"class{number}" / "photo.JPG").write_bytes(photo)
    return root


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.parametrize("how", first_by_default(FITS))
def test_local_and_served_pictures_are_the_same(place, how, tmp_path):
    photo, net = place / "data/class0/photo.JPG", place / "net.keras"
    run("export", net, tmp_path / "net", "--fit", how, "--json")
    served = tf.saved_model.load(str(tmp_path / "net" / "1")).signatures["deconv"]
    answer = served(image_bytes=tf.constant([photo.read_bytes()]), layer=tf.constant(["conv"]),
                    channel=tf.constant([-1]))  # fmt: skip
    seen = tf.io.decode_png(answer["input_bytes"][0]).numpy()
    upright = image.load(photo)
    assert upright.shape == (400, 300, 3)
    local = fit(upright, SIZE, how, 8 / 7)
    assert np.abs(seen.astype(float) - local).max() < 2
    sideways = fit(np.asarray(Image.open(photo)), SIZE, how, 8 / 7)
    assert np.abs(seen.astype(float) - sideways).mean() > 15
    about = json.loads((tmp_path / "net" / "1" / "assets" / "zfkeras.json").read_text())
    assert about["fit"] == how


@pytest.mark.parametrize("how", FITS)
def test_every_command_fits_as_told(place, how, tmp_path):
    photo, net = place / "data/class0/photo.JPG", place / "net.keras"
    model = keras.models.load_model(net)
    expected = fit(image.load(photo), SIZE, how)[None].astype(np.float32)
    out = ["--model", net, "--fit", how, "--output", tmp_path, "--json"]
    run("project", photo, "--layer", "conv", "--channels", 1, *out)
    found = zf.load_results(tmp_path / "conv.npz")
    projected = zf.DeconvNet(model).project(expected, "conv", 1)
    np.testing.assert_allclose(found.values, projected.values, rtol=1e-5)
    scores = keras.ops.softmax(model.predict(expected, verbose=0)).numpy()
    told = json.loads(run("occlude", photo, "--patch-size", 9, *out))
    assert told[0]["whole"] == pytest.approx(scores.max(), rel=1e-4)
    larger = preprocess.fitted(tf.constant(image.load(photo)), SIZE, how)[None]
    told = json.loads(run("evaluate", net, "--data", place / "data", "--fit", how, "--json"))
    losses = -keras.ops.log_softmax(model.predict(larger, verbose=0)).numpy()
    assert told["loss"] == pytest.approx(losses.mean(), rel=1e-3)
    run("top", "--data", place / "data", "--k", 1, "--layers", "conv", *out)
    top = zf.load_results(tmp_path / "top.npz")["conv"]
    maps = keras.Model(model.inputs, model.get_layer("conv").output).predict(larger, verbose=0)
    np.testing.assert_allclose(top.values[:, 0], maps.max((0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize("command", ["project", "occlude", "compare", "invariance"])
def test_a_wrong_way_is_named(command, place, tmp_path):
    words = [command, place / "data/class0/photo.JPG", "--model", place / "net.keras",
             "--fit", "zoom", "--output", tmp_path]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert "Received: fit='zoom'" in str(result.exception)


def test_what_cannot_be_cropped_is_refused(place):
    source = image_folder(place / "data", fit="pad")
    with pytest.raises(ValueError, match="Ten crops.*Received: fit='pad'"):
        zf.evaluate(keras.models.load_model(place / "net.keras"), source, ten_crop=True)

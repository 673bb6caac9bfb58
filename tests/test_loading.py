"""Models that strangers bring: files that are none, layers of their own, layers without a rule."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiers import first_by_default
from typer.testing import CliRunner

import zfkeras as zf
from zfkeras.cli import app

L = keras.layers
OWN = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def net(*between):
    pixels = keras.Input((24, 30, 3))
    x = L.Conv2D(4, 3, name="c1")(pixels)
    for layer in between:
        x = layer(x)
    x = L.Conv2D(5, 3, activation="relu", name="c2")(x)
    return keras.Model(pixels, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    model = net(L.ReLU())
    model.save(root / "good.keras")
    model.export(root / "saved", verbose=False)
    model.save_weights(root / "only.weights.h5")
    (root / "folder").mkdir()
    (root / "text.keras").write_text("no model")
    (root / "empty.keras").write_bytes(b"")
    (root / "cut.keras").write_bytes((root / "good.keras").read_bytes()[:900])
    with zipfile.ZipFile(root / "zip.keras", "w") as file:
        file.writestr("something", "else")
    net(L.Lambda(lambda x: x + 1)).save(root / "lambda.keras")
    (root / "own_layers.py").write_text(OWN)
    sys.path.insert(0, str(root))
    from own_layers import Doubled

    net(Doubled()).save(root / "own.keras")
    sys.path.remove(str(root))
    return root


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.keras", "There is no such model. Expected 'imagenette' or the path of a .keras file"),
     ("", "There is no such model"),
     ("saved", "A SavedModel .* no layers .* Expected the .keras file of the same model"),
     ("folder", "A folder is no model. Expected 'imagenette' or the path"),
     ("only.weights.h5", "Weights alone are no model. Expected .*load_weights"),
     ("text.keras", "the file is damaged, or not one that Keras wrote. Expected a .keras file"),
     ("empty.keras", "the file is damaged"),
     ("cut.keras", "can't load this model"),
     ("zip.keras", "the file is damaged"),
     ("lambda.keras", "Python code of a Lambda layer.*enable_unsafe_deserialization"),
     ("own.keras", "the class 'Doubled', which nobody has imported here. Expected .*--import")],
)  # fmt: skip
def test_what_is_no_model_is_told_what_to_do(place, name, message):
    with pytest.raises(ValueError, match=message + ".*Received: ") as caught:
        zf.load_model(place / name if name else "")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_older_files_of_whole_models_are_read(place, tmp_path):
    model = keras.models.load_model(place / "good.keras")
    model.save(tmp_path / "old.h5")
    images = np.random.default_rng(0).uniform(0, 1, (2, 24, 30, 3))
    found = zf.load_model(tmp_path / "old.h5").predict(images, verbose=0)
    np.testing.assert_array_equal(found, model.predict(images, verbose=0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_layers.py", "own_layers"])
def test_own_layers_are_imported(place, name, monkeypatch, tmp_path):
    """By the path of their file, and by the module's name seen from here; in a fresh process."""
    command = [sys.executable, "-c", "from zfkeras.cli import main; main()", "check", "own.keras"]
    shown = subprocess.run([*command, "--import", name, "--json"], cwd=place, capture_output=True)
    assert b"Doubled" in shown.stdout, shown.stderr
    refused = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "--import" in refused.stderr


# === Said before TensorFlow is there ===

EARLY = [
    (["project", "none.jpg"], "No such file or folder.*Received: path='none.jpg'"),
    (["project", ".", "--model", "none.keras"], "no such model.*Received: 'none.keras'"),
    (["project", ".", "--fit", "zoom"], "Expected crop, stretch or pad. Received: fit='zoom'"),
    (["project", ".", "--image-size", "1,2,3"], "--image-size must be HEIGHT,WIDTH"),
    (["project", ".", "--image-size", "big"], "--image-size must be numbers"),
    (["project", ".", "--rule", "lrp"], "Expected deconvnet, guided, gradient.*rule=.lrp"),
    (
        ["occlude", ".", "--method", "fast"],
        "Expected auto, plain, incremental, coarse.*method=.fast",
    ),
    (["occlude", ".", "--labels", "none.txt"], "No such file or folder.*'none.txt'"),
    (["occlude", ".", "--others", "none"], "No such file or folder.*'none'"),
    (["evaluate", "imagenet", "--data", "."], "no such model.*Received: 'imagenet'"),
    (["evaluate", "imagenette", "--data", "none"], "no such folder of pictures.*'none'"),
    (["top", "--data", "none"], "no such folder of pictures"),
    (["atlas", "none.keras", "--data", "."], "no such model"),
    (["export", "none.keras", "served"], "no such model"),
    (["check", "none.keras"], "no such model"),
    (["filters", "none.keras"], "no such model"),
    (["compare", "none.jpg"], "No such file or folder"),
    (["faithfulness", "none.jpg"], "No such file or folder"),
    (["invariance", "none.jpg"], "No such file or folder"),
    (["correspond", "none.json"], "No such file or folder"),
    (["reproduce", "fig5", "--images", "none"], "No such file or folder"),
    (["reproduce", "table1"], "table1 needs --landmarks"),
    (["train", "--data", "none", "--output", "run"], "no such folder of pictures"),
    (["query", "none.jpg"], "No such file or folder"),
]


@pytest.mark.parametrize(("words", "message"), EARLY, ids=lambda words: " ".join(words)[:40])
def test_what_can_be_known_is_said_at_once(words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zfkeras.cli.quiet.load_tensorflow", fail_to_load)
    with pytest.raises(ValueError, match=message):
        raise CliRunner().invoke(app, words).exception


def fail_to_load():
    raise AssertionError("TensorFlow was to be loaded")


def test_it_is_a_line_and_exit_code_2_without_tensorflow(tmp_path):
    program = (
        "import sys\nfrom zfkeras.cli import main\nsys.argv[1:] = ['project', 'none.jpg']\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    print(end.code, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["2", "False", "False"]
    assert found.stderr.count("\n") == 1


# === What an export offers ===

BARRED = {
    "leaky": L.LeakyReLU,
    "gelu": lambda: L.Activation("gelu"),
    "prelu": L.PReLU,
    "elu": L.ELU,
    "swish": lambda: L.Activation("swish"),
}


@pytest.mark.parametrize("name", first_by_default(BARRED))
def test_an_export_offers_what_can_be_projected(name, tmp_path):
    model = net(BARRED[name]())
    with pytest.warns(UserWarning, match="offers c1, but not c2: .* no reverse rule.*--rule"):
        version = zf.export(model, tmp_path / "m")
    served = tf.saved_model.load(str(version)).signatures
    images = np.random.default_rng(0).uniform(0, 255, (2, 24, 30, 3)).astype(np.float32)
    asked = {"layer": tf.constant(["c1"] * 2), "channel": tf.constant([-1] * 2)}
    answer = served["deconv_pixels"](pixels=tf.constant(images), **asked)
    expected = zf.DeconvNet(model).project(images, "c1", 1).pixels[:, 0]
    np.testing.assert_allclose(answer["projection"], expected, atol=1e-5)
    hidden = served["occlusion_pixels"](
        pixels=tf.constant(images), patch_size=tf.constant([-1] * 2), fill_value=tf.zeros(2)
    )
    maps = keras.Model(model.inputs, model.get_layer("c2").output).predict(images, verbose=0)
    np.testing.assert_allclose(hidden["activation"], maps.sum((1, 2)).max(1), rtol=1e-4)


@pytest.mark.parametrize("name", first_by_default(BARRED))
def test_another_rule_offers_them_all(name, tmp_path):
    version = zf.export(net(BARRED[name]()), tmp_path / "m", rule="gradient")
    assert '"c2"' in (version / "assets" / "zfkeras.json").read_text()


def test_a_layer_that_cannot_be_projected_is_refused_by_name(tmp_path):
    message = "Layer 'c2' can't be exported: .*Expected .* here c1, .*Received: layers=..c2.."
    with pytest.raises(ValueError, match=message) as caught:
        zf.export(net(L.LeakyReLU()), tmp_path / "m", layers=["c2"])
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "m").exists() or not list((tmp_path / "m").iterdir())


@pytest.mark.slow
def test_a_layer_that_sees_nobody_knows_how_far_is_exported(tmp_path):
    """Its box is the whole image."""
    version = zf.export(net(L.Permute((2, 1, 3))), tmp_path / "m")
    served = tf.saved_model.load(str(version)).signatures["deconv_pixels"]
    asked = {"layer": tf.constant(["c2"]), "channel": tf.constant([0])}
    answer = served(pixels=tf.ones((1, 24, 30, 3)), **asked)
    assert answer["box"].numpy().tolist() == [[0, 0, 24, 30]]


@pytest.mark.slow
def test_check_and_export_agree(tmp_path):
    """What `check` says can be projected is what an export offers."""
    for number, layers in enumerate(
        ([L.RandomFlip()], [L.GaussianNoise(0.1), L.ReLU()], [L.RandomRotation(0.1)], [L.ReLU()])
    ):
        model = net(*layers)
        found = zf.check_model(model)
        assert found.ok
        version = zf.export(model, tmp_path / str(number))
        assert '"c2"' in (version / "assets" / "zfkeras.json").read_text()

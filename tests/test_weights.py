"""Weight files: half precision, no pickle, strict shapes; and the bundled net."""

import json

import keras
import numpy as np
import pytest

from zfkeras.models import weights
from zfkeras.models.alexnet import AlexNet
from zfkeras.models.weights import class_names, load_weights, metadata, save_weights
from zfkeras.models.zfnet import ZFNet

ARGUMENTS = {"classes": 3, "input_shape": (64, 56, 3), "width": 0.05, "fc_units": 9}
NAMES = ["a cat", "a dog", "a hat"]


@pytest.fixture
def model():
    keras.utils.set_random_seed(1)
    made = ZFNet(**ARGUMENTS)
    made.get_layer("mean").mean.assign(np.full((64, 56, 3), 123.4567, np.float32))
    return made


@pytest.fixture
def path(model, tmp_path):
    file = tmp_path / "net.npz"
    save_weights(model, file, {"model": "ZFNet", **ARGUMENTS}, NAMES, seed=4)
    return file


def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 56, 3)).astype(np.float32)


def test_a_file_makes_the_net_again(model, path):
    again = ZFNet(weights=str(path))
    assert again.input_shape == (None, 64, 56, 3)
    np.testing.assert_allclose(again(images()), model(images()), rtol=2e-2, atol=2e-3)
    kernel = np.asarray(model.get_layer("conv2").kernel)
    assert np.array_equal(again.get_layer("conv2").kernel, kernel.astype(np.float16))
    assert np.array_equal(again.get_layer("mean").mean, model.get_layer("mean").mean)


def test_what_a_file_holds(path):
    with np.load(path, allow_pickle=False) as stored:
        assert stored["conv1/kernel"].dtype == np.float16
        assert stored["mean/mean"].dtype == np.float32
        assert {"conv1/bias", "logits/kernel", "fc6/bias"} < set(stored.files)
        assert not any("seed" in name for name in stored.files)
        assert json.loads(str(stored["metadata"]))["seed"] == 4
    assert metadata(path)["architecture"]["width"] == 0.05
    assert class_names(path) == tuple(NAMES)


def test_a_net_without_its_top_takes_what_it_has(path, model):
    trunk = ZFNet(weights=str(path), include_top=False)
    kernel = np.asarray(model.get_layer("conv5").kernel).astype(np.float16)
    np.testing.assert_array_equal(trunk.get_layer("conv5").kernel, kernel)


def test_a_net_of_another_shape_is_refused_and_unchanged(path, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"conv1/kernel has shape \(7, 7, 3, 10\). Allowed is the weights' \(7, 7, 3, 5\)",
    ):
        ZFNet(weights=str(path), width=0.1)
    other = ZFNet(**ARGUMENTS | {"classes": 4})
    before = np.asarray(other.get_layer("conv1").kernel)
    with pytest.raises(ValueError, match=r"logits/kernel has shape \(9, 4\).*Received: weights="):
        load_weights(other, path)
    np.testing.assert_array_equal(other.get_layer("conv1").kernel, before)


def test_another_kind_of_net_is_refused(path):
    with pytest.raises(ValueError, match="those of a AlexNet. Received:.*of a ZFNet"):
        AlexNet(weights=str(path))
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2, name="strange")(inputs))
    with pytest.raises(ValueError, match="lack strange/kernel. Allowed.*conv1, conv2"):
        load_weights(other, path)


def test_files_that_are_no_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such weights. Allowed are 'imagenette'.*'imagenet'"):
        ZFNet(weights="imagenet")
    bad = tmp_path / "bad.npz"
    for contents in (b"", b"hello", b"PK\x03\x04 broken zip"):
        bad.write_bytes(contents)
        with pytest.raises(ValueError, match="not a weight file.*Received: weights="):
            metadata(bad)
    np.savez(bad, x=np.zeros(3))
    with pytest.raises(ValueError, match="not a weight file"):
        metadata(bad)
    np.savez(bad, metadata=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a weight file"):
        metadata(bad)


def test_saving_refuses_what_float16_cannot_hold(model, tmp_path):
    model.get_layer("fc6").bias.assign(np.full(9, 70000.0))
    with pytest.raises(ValueError, match="65504. Received: fc6/bias with values up to 70000"):
        save_weights(model, tmp_path / "x.npz", {}, NAMES)
    with pytest.raises(ValueError, match="3 outputs must have a name.*class_names=\\['a'\\]"):
        save_weights(model, tmp_path / "x.npz", {}, ["a"])
    assert not list(tmp_path.iterdir())


# === The bundled net ===


@pytest.fixture(scope="module")
def bundled():
    if not weights.BUNDLED["imagenette"].is_file():
        pytest.skip("not trained yet")
    return ZFNet(weights="imagenette")


def test_the_bundled_net_is_small(bundled):
    assert weights.BUNDLED["imagenette"].stat().st_size < 8e6
    assert bundled.output_shape == (None, 10)
    assert "English springer" in class_names("imagenette")


def test_the_bundled_net_is_as_good_as_its_card_says(bundled, shared, tmp_path):
    import tarfile

    from zfkeras.data.folders import image_folder
    from zfkeras.training.evaluation import evaluate

    with tarfile.open(shared / "images" / "imagenette224_val_600.tar") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not before Python 3.11.4
        tar.extractall(tmp_path)
    notes = metadata("imagenette")
    for wnid, name in notes["wnids"].items():
        (tmp_path / wnid).rename(tmp_path / name)
    source = image_folder(tmp_path, class_names=class_names("imagenette"), check=False)
    result = evaluate(bundled, source)
    assert len(result.labels) == 600
    assert result.accuracy == pytest.approx(notes["accuracy"]["plain"]["top1"], abs=0.005)
    assert result.accuracy >= 0.72

"""Images from arrays, folders and data sets; landmarks; results in files."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras import image
from zfkeras.analysis.landmarks import load_landmarks
from zfkeras.data.pictures import picture_files, pictures
from zfkeras.results import Result


@pytest.fixture
def folder(tmp_path, rng):
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/c.png", "a.png"):
        image.save(tmp_path / name, rng.integers(0, 256, (12, 18, 3)).astype(np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_is_read_in_order_and_fitted(folder):
    files = [folder / "a.png", folder / "b.png", folder / "deep" / "c.png"]
    assert picture_files(folder) == files
    np.testing.assert_array_equal(pictures(folder), [image.load(file) for file in files])
    np.testing.assert_array_equal(
        pictures(str(folder), (10, 8)), [image.fit(image.load(file), (10, 8)) for file in files]
    )
    assert pictures(files[0], (None, None)).shape == (1, 12, 18, 3)


def test_arrays_are_left_alone(rng):
    images = rng.normal(size=(2, 5, 4, 3))
    assert pictures(images, (9, 9)) is images
    assert pictures(tf.constant(images)).shape == images.shape


def test_data_sets_of_every_kind(rng):
    images = rng.uniform(0, 255, (5, 6, 7, 3)).astype("f4")
    plain = tf.data.Dataset.from_tensor_slices(images)
    labelled = tf.data.Dataset.from_tensor_slices((images, range(5)))
    for data in (plain, plain.batch(2), labelled, labelled.batch(3)):
        np.testing.assert_array_equal(pictures(data, (6, 7)), images)
    assert pictures(plain, (3, 3)).shape == (5, 3, 3, 3)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (7, TypeError, "array.*Received: images of type int"),
        ("no/such/folder", ValueError, "no pictures.*path='no/such/folder'"),
        (tf.data.Dataset.range(3), ValueError, r"must hold images.*shape \(\)"),
    ],
)
def test_bad_sources(source, error, message):
    with pytest.raises(error, match=message):
        pictures(source)


def test_pictures_of_different_sizes(folder):
    image.save(folder / "d.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"one size.*\(5, 5, 3\), \(12, 18, 3\)"):
        pictures(folder)


# === Landmarks ===


@pytest.mark.parametrize("size", [(24, 36), (20, 20), (9, 30)])
def test_landmarks_stay_on_what_they_mark(tmp_path, size):
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[26:32, 50:56] = 255  # centre (28.5, 52.5)
    image.save(tmp_path / "a.png", picture)
    entry = {"file": "a.png", "parts": {"spot": [28.5, 52.5], "box": [26, 50, 32, 56]}, "class": 3}
    (tmp_path / "marks.json").write_text(json.dumps([entry, entry]))
    marks = load_landmarks(tmp_path / "marks.json", size)
    shown = marks.images[0, ..., 0].astype(float)
    rows, columns = (np.average(axis, weights=shown) for axis in np.indices(size))
    np.testing.assert_allclose(marks.parts["spot"][0], [rows, columns], atol=0.3)
    scale = max(size[0] / 60, size[1] / 90)
    centre = marks.parts["box"][0].reshape(2, 2).mean(0) - 0.5
    np.testing.assert_allclose(centre, marks.parts["spot"][0], atol=1e-6)
    np.testing.assert_allclose(np.diff(marks.parts["box"][0].reshape(2, 2), axis=0), 6 * scale)
    assert marks.classes.tolist() == [3, 3]
    assert marks.boxes is None


def test_objects_are_clipped_to_the_picture(tmp_path):
    image.save(tmp_path / "a.png", np.zeros((60, 90, 3), np.uint8))
    entry = {"file": "a.png", "parts": {"x": [1, 2]}, "box": [0, 0, 60, 90]}
    (tmp_path / "marks.json").write_text(json.dumps([entry]))
    assert load_landmarks(tmp_path / "marks.json", (30, 30)).boxes.tolist() == [[0, 0, 30, 30]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "do not all name the same parts"),
        ('[{"file": "a.png"}]', "KeyError: 'parts'"),
        ('[{"file": "a", "parts": {"x": [1, 2]}}, {"file": "b", "parts": {"y": [1, 2]}}]', "same"),
        ('[{"file": "a", "parts": {"x": [1, 2, 3]}}]', r"places of \[3\] numbers"),
        (
            '[{"file": "a", "parts": {"x": [1, 2]}, "class": 1},'
            ' {"file": "a", "parts": {"x": [1, 2]}}]',
            "1 of 2 pictures have 'class'",
        ),
    ],
)
def test_bad_landmarks(tmp_path, content, message):
    (tmp_path / "a").write_bytes(image.encode(np.zeros((4, 4, 3), np.uint8)))
    (tmp_path / "marks.json").write_text(content)
    with pytest.raises(ValueError, match=rf"(?s)JSON list.*marks\.json.*{message}"):
        load_landmarks(tmp_path / "marks.json", (4, 4))


# === Results ===


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Everything(Result):
    numbers: np.ndarray
    words: np.ndarray
    nested: tuple
    text: str
    share: float
    nothing: None = None


def test_results_come_back_as_they_were(tmp_path):
    kept = Everything(np.arange(6.0).reshape(2, 3), np.array(["ä", "bc"]), (1, ("x", 2)), "t", 0.5)
    again = Everything.load(kept.save(tmp_path / "deep" / "kept.npz"))
    for name, value in vars(kept).items():
        assert type(getattr(again, name)) is type(value)
        np.testing.assert_equal(getattr(again, name), value)
    with pytest.raises(ValueError, match=r"holds no invariance.*Invariance\.save.*kept\.npz"):
        zf.Invariance.load(tmp_path / "deep" / "kept.npz")
    with pytest.raises(FileNotFoundError):
        Everything.load(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 not really"])
def test_wrong_files_are_named(tmp_path, content):
    (tmp_path / "wrong.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no everything.*wrong\.npz"):
        Everything.load(tmp_path / "wrong.npz")


def test_numpy_numbers_among_the_settings_are_kept(tmp_path):
    kept = Everything(np.zeros(1), np.zeros(1), (np.int64(3),), "t", np.float32(0.5))
    again = Everything.load(kept.save(tmp_path / "kept.npz"))
    assert again.nested == (3,)
    assert again.share == 0.5


def test_fractions_of_another_size_are_refused_and_grey_ones_kept(rng):
    images = rng.uniform(0, 1, (3, 8, 9, 3)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(images)
    with pytest.raises(ValueError, match="Expected images of fractions.*Received: .*in 0.*0.99"):
        pictures(data, (4, 4))
    np.testing.assert_array_equal(pictures(data, (8, 9)), images)
    grey = pictures(data, (8, 9), channels=1)
    np.testing.assert_allclose(grey[..., 0], images @ [0.299, 0.587, 0.114], rtol=1e-5)
    assert grey.dtype == np.float32


def test_the_deconvnet_takes_pictures_from_files(folder):
    model = keras.Sequential([keras.Input((12, 10, 3)), keras.layers.Conv2D(2, 3, name="c")])
    deconv, taken = zf.DeconvNet(model), pictures(folder, (12, 10))
    np.testing.assert_array_equal(
        deconv.project(folder, "c").pixels, deconv.project(taken, "c").pixels
    )
    units = [[1, 2, 3, 0]]
    np.testing.assert_array_equal(
        deconv.project_units(folder, "c", units).pixels,
        deconv.project_units(taken, "c", units).pixels,
    )

"""Invariance against a warp in NumPy loops and a net run layer by layer."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras.analysis.invariance import PAPER, invariance
from zfkeras.analysis.transforms import matrix, transform

HEIGHT, WIDTH, CLASSES = 14, 19, 4


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    pixels = keras.Input((HEIGHT, WIDTH, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 64, offset=-2)(pixels)
    x = keras.layers.Conv2D(5, (3, 2), strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(7, activation="relu", name="fc")(x)
    return keras.Model(pixels, keras.layers.Dense(CLASSES, name="logits")(x))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)


def warped(image, kind, amount, fill):
    """Each pixel by itself: where it comes from, and a bilinear mean of four neighbours there."""
    height, width = image.shape[:2]
    out = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            v, u = y - (height - 1) / 2, x - (width - 1) / 2
            if kind == "vertical":
                v -= amount
            elif kind == "horizontal":
                u -= amount
            elif kind == "scale":
                v, u = v / amount, u / amount
            else:  # turning the picture anticlockwise looks clockwise for the source
                a = math.radians(amount)
                u, v = math.cos(a) * u - math.sin(a) * v, math.sin(a) * u + math.cos(a) * v
            v, u = v + (height - 1) / 2, u + (width - 1) / 2
            for row in (math.floor(v), math.floor(v) + 1):
                for column in (math.floor(u), math.floor(u) + 1):
                    share = (1 - abs(v - row)) * (1 - abs(u - column))
                    inside = 0 <= row < height and 0 <= column < width
                    out[y, x] += share * (image[row, column] if inside else fill[y, x])
    return out


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("vertical", 3), ("horizontal", -2.5), ("scale", 1.35), ("scale", 0.6), ("rotation", 33)],
)
def test_transforms_equal_a_pixel_loop(images, rng, kind, amount):
    fill = rng.uniform(0, 255, images.shape[1:])
    found = transform(images.astype("f4"), matrix(kind, amount), fill)
    for image, moved in zip(images, found, strict=True):
        np.testing.assert_allclose(moved, warped(image, kind, amount, fill), atol=2e-2)


def test_a_quarter_turn_is_anticlockwise(rng):
    square = rng.uniform(0, 255, (1, 6, 6, 3)).astype("f4")
    found = transform(square, matrix("rotation", 90), 0.0)
    np.testing.assert_allclose(found[0], np.rot90(square[0]), atol=1e-3)


def test_distances_and_probabilities_equal_a_net_run_by_hand(model, images):
    amounts = {"vertical": [-4, 0, 2], "rotation": [25]}
    layers = ["conv1", "fc"]
    found = invariance(model, images, layers, classes=[1, 3], transforms=amounts, fill_value=7.0)
    run = keras.Model(model.input, [model.get_layer(name).output for name in (*layers, "logits")])
    fill = np.full(images.shape[1:], 7.0)
    assert found.kinds.tolist() == ["vertical"] * 3 + ["rotation"]
    assert found.amounts.tolist() == [-4, 0, 2, 25]
    for n, image in enumerate(images):
        *own, _ = (np.ravel(x) for x in run(image[None].astype("f4")))
        for t, (kind, amount) in enumerate(zip(found.kinds, found.amounts, strict=True)):
            moved = warped(image, kind, amount, fill)[None].astype("f4")
            *features, logits = (np.ravel(x) for x in run(moved))
            odds = np.exp(logits - logits.max())
            chance = (odds / odds.sum())[found.classes[n]]
            np.testing.assert_allclose(found.probabilities[n, t], chance, atol=1e-4)
            for i, (a, b) in enumerate(zip(own, features, strict=True)):
                raw, unit = np.linalg.norm(a - b), a / np.linalg.norm(a) - b / np.linalg.norm(b)
                np.testing.assert_allclose(found.distances[n, i, t], raw, atol=2e-3)
                np.testing.assert_allclose(
                    found.unit_distances[n, i, t], np.linalg.norm(unit), atol=1e-4
                )


def test_doing_nothing_changes_nothing(model, images):
    nothing = {"vertical": [0], "horizontal": [0.0], "scale": [1], "rotation": [0]}
    found = invariance(model, images, ["conv1", "fc"], transforms=nothing)
    np.testing.assert_array_equal(found.distances, 0)
    np.testing.assert_allclose(found.unit_distances, 0, atol=1e-6)
    np.testing.assert_allclose(
        found.probabilities, np.repeat(found.baseline_probabilities[:, None], 4, 1), atol=1e-6
    )


def test_an_image_like_the_filling_does_not_move(model):
    plain = np.full((1, HEIGHT, WIDTH, 3), 60, np.uint8)
    for fill in (60.0, "mean", (60, 60, 60), plain[0]):
        found = invariance(model, plain, "conv1", transforms={"vertical": [5]}, fill_value=fill)
        np.testing.assert_allclose(found.distances, 0, atol=1e-3)


def test_a_symmetric_image_has_symmetric_curves(rng):
    half = rng.uniform(0, 255, (1, HEIGHT, 10, 3))
    image = np.concatenate([half, half[:, :, -2::-1]], 2)  # 19 wide
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    flat = keras.layers.Flatten(name="flat")(pixels)
    raw = keras.Model(pixels, keras.layers.Dense(2)(flat))
    found = invariance(raw, image, "flat", transforms={"horizontal": [-6, -3, 3, 6]})
    np.testing.assert_allclose(found.distances[0, 0], found.distances[0, 0, ::-1], rtol=1e-4)
    assert found.distances.min() > 100


def test_turning_a_radially_symmetric_image_hardly_matters():
    row, column = np.mgrid[:21, :21] - 10.0
    disc = (200 * np.exp(-(row**2 + column**2) / 30))[None, ..., None].repeat(3, -1)
    pixels = keras.Input((21, 21, 3))
    maps = keras.layers.Flatten(name="flat")(keras.layers.AveragePooling2D(3)(pixels))
    raw = keras.Model(pixels, keras.layers.Dense(2)(maps))
    amounts = {"rotation": [10, 45, 90], "vertical": [4]}
    found = invariance(raw, disc, "flat", transforms=amounts, fill_value=0.0)
    turned, moved = found.distances[0, 0, :3], found.distances[0, 0, 3]
    assert turned.max() < 0.05 * moved


def test_the_paper_s_ranges(model, images):
    found = invariance(model, images[:1], "fc")
    counts = {kind: int(found.points(kind).sum()) for kind in PAPER}
    assert counts == {"vertical": 25, "horizontal": 25, "scale": 17, "rotation": 36}
    ends = {kind: found.amounts[found.points(kind)][[0, -1]].tolist() for kind in PAPER}
    assert ends == {
        "vertical": [-60, 60],
        "horizontal": [-60, 60],
        "scale": [1, 1.8],
        "rotation": [0, 350],
    }


def test_the_batch_size_does_not_matter_and_every_other_argument_does(model, images):
    arguments = {"layers": "conv1", "transforms": {"scale": [1.3, 1.6]}, "classes": 0}
    found = invariance(model, images, **arguments)
    again = invariance(model, images, **arguments, batch_size=1)
    np.testing.assert_allclose(found.distances, again.distances, rtol=1e-4)
    for change in ({"classes": 2}, {"softmax": False}, {"fill_value": 255.0}):
        other = invariance(model, images, **arguments | {"transforms": {"scale": [0.7]}} | change)
        same = invariance(model, images, **arguments | {"transforms": {"scale": [0.7]}})
        assert not np.allclose(other.probabilities, same.probabilities), change


def test_folders_data_sets_and_files(model, images, tmp_path):
    for number, picture in enumerate(images):
        zf.image.save(tmp_path / f"{number}.png", picture)
    data = tf.data.Dataset.from_tensor_slices((images, [0, 1])).batch(2)
    few = {"transforms": {"rotation": [20]}}
    expected = invariance(model, images, "fc", **few)
    for source in (tmp_path, data):
        found = invariance(model, source, "fc", **few)
        np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4)
    loaded = zf.Invariance.load(expected.save(tmp_path / "found.npz"))
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
        assert type(getattr(loaded, name)) is type(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "conv9"}, "conv9"),
        ({"transforms": {"shear": [1]}}, r"vertical, horizontal.*Received: shear=\[1"),
        ({"transforms": {"scale": [1, 0]}}, r"positive factors.*scale=\[1.0, 0.0\]"),
        ({"transforms": {"rotation": []}}, r"Received: rotation=\[\]"),
        ({"transforms": {}}, "nothing to do.*Received: transforms={}"),
        ({"fill_value": "blur"}, "fill_value='blur'"),
        ({"classes": [0, 1, 2]}, r"one for each, shape \(2,\).*classes=\[0, 1, 2\]"),
        ({"classes": 4}, r"0\.\.3.*Received"),
        ({"images": np.zeros((1, WIDTH, HEIGHT, 3))}, r"do not fit.*\(1, 19, 14, 3\)"),
    ],
)
def test_bad_input(model, images, change, message):
    arguments = {"images": images, "layers": "fc", "transforms": {"scale": [1.2]}} | change
    with pytest.raises(ValueError, match=f"(?s){message}"):
        invariance(model, **arguments)


def test_a_kind_that_was_not_measured(model, images):
    found = invariance(model, images, "fc", transforms={"scale": [1.2]})
    with pytest.raises(ValueError, match=r"Expected one of \['scale'\].*kind='rotation'"):
        found.points("rotation")

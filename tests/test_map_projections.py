"""Panel (c) of Fig. 7 against projections and totals computed by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras import image
from zfkeras.analysis.map_projections import map_projections

HEIGHT, WIDTH = 13, 18
OCCLUDER = {"patch_size": 7, "strides": 6}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Rescaling(1 / 64, offset=-2)(pixels)
    x = keras.layers.Conv2D(5, (3, 2), strides=2, activation="relu", name="conv1")(x)
    x = keras.layers.Conv2D(6, 2, activation="gelu", name="smooth")(x)
    x = keras.layers.Reshape((-1, 6), name="row")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(pixels, keras.layers.Dense(4, name="scores")(x))


@pytest.fixture
def images(rng):
    """Five images, red to dark, so that not all have the same strongest map."""
    casts = np.array([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1], [1, 1, 1], [0.1, 0.1, 0.1]])
    noise = rng.integers(0, 256, (5, HEIGHT, WIDTH, 3))
    return (casts[:, None, None] * noise).astype(np.float32)


def maps_by_hand(model, pixels):
    """The first layer's maps (h, w, 5) by loops."""
    kernel, bias = (w.numpy() for w in model.get_layer("conv1").weights)
    pixels = pixels / 64 - 2
    maps = np.empty(((HEIGHT - 3) // 2 + 1, (WIDTH - 2) // 2 + 1, 5))
    for i, j in np.ndindex(maps.shape[:2]):
        window = pixels[2 * i : 2 * i + 3, 2 * j : 2 * j + 2]
        maps[i, j] = np.einsum("abc,abck->k", window, kernel) + bias
    return maps.clip(0)


def projected_by_hand(model, pixels, channel):
    """The strongest unit's filter times its value, where the unit looks; scaled like the pixels."""
    kernel = model.get_layer("conv1").kernel.numpy()
    maps = maps_by_hand(model, pixels)[..., channel]
    i, j = np.unravel_index(maps.argmax(), maps.shape)
    result = np.zeros(pixels.shape)
    result[2 * i : 2 * i + 3, 2 * j : 2 * j + 2] = kernel[..., channel] * maps[i, j] / 64
    return result


def totals_by_hand(model, images):
    return np.array([maps_by_hand(model, pixels).sum(axis=(0, 1)) for pixels in images])


def assert_others(model, found, images, pool):
    """Every other image is the right one and projected rightly."""
    totals = totals_by_hand(model, pool)
    for n, pixels in enumerate(images):
        channel = found.channel[n]
        candidates = [p for p in range(len(pool)) if not np.array_equal(pool[p], pixels)]
        best = sorted(candidates, key=lambda p, k=channel: -totals[p, k])
        assert found.others[n].tolist() == best[: found.others.shape[1]]
        for m, p in enumerate(found.others[n]):
            np.testing.assert_allclose(found.other_activation[n, m], totals[p, channel], rtol=1e-4)
            expected = projected_by_hand(model, pool[p], channel)
            np.testing.assert_allclose(
                found.other_projections[n, m], expected, rtol=1e-3, atol=1e-6
            )


@pytest.mark.parametrize("batch_size", [2, 64])
def test_projections_of_a_batch_against_loops(model, images, batch_size):
    found = zf.occlusion(model, images, **OCCLUDER, layer="conv1", batch_size=batch_size)
    totals = totals_by_hand(model, images)
    assert found.channel.tolist() == totals.argmax(axis=1).tolist()
    assert len(set(found.channel.tolist())) > 1
    assert found.projection.dtype == found.other_projections.dtype == np.float32
    for n, pixels in enumerate(images):
        expected = projected_by_hand(model, pixels, found.channel[n])
        np.testing.assert_allclose(found.projection[n], expected, rtol=1e-3, atol=1e-6)
    assert found.others.shape == (5, 4)
    assert_others(model, found, images, images)


@pytest.mark.parametrize("top_others", [0, 1, 3])
def test_no_more_others_than_wanted(model, images, top_others):
    found = zf.occlusion(model, images, **OCCLUDER, layer="conv1", top_others=top_others)
    assert found.others.shape == found.other_activation.shape == (5, top_others)
    assert found.other_projections.shape == (5, top_others, HEIGHT, WIDTH, 3)
    assert_others(model, found, images, images)


def test_an_image_alone_has_no_others(model, images):
    found = zf.occlusion(model, images[:1], **OCCLUDER, layer="conv1")
    assert found.projection.shape == (1, HEIGHT, WIDTH, 3)
    assert found.others.shape == (1, 0)


def test_others_from_elsewhere_but_never_the_image_itself(model, images, rng):
    pool = rng.integers(0, 256, (4, HEIGHT, WIDTH, 3)).astype(np.float32)
    pool[2] = images[1]
    found = zf.occlusion(model, images[:2], **OCCLUDER, layer="conv1", others=pool)
    assert found.others.shape == (2, 3)
    assert 2 not in found.others[1]
    assert_others(model, found, images[:2], pool)


def test_equal_images_are_no_others(model, images):
    twice = images[[0, 1, 0]]
    found = zf.occlusion(model, twice, **OCCLUDER, layer="conv1")
    assert found.others.tolist() == [[1], [0], [1]]


def test_others_from_a_folder_and_a_data_set(model, images, rng, tmp_path):
    for number in range(3):
        picture = rng.integers(0, 256, (HEIGHT + number, WIDTH + 2, 3), dtype=np.uint8)
        image.save(tmp_path / f"{number}.png", picture)
    pool = np.stack(
        [image.fit(image.load(tmp_path / f"{n}.png"), (HEIGHT, WIDTH)) for n in range(3)]
    )
    dataset = tf.data.Dataset.from_tensor_slices(pool).batch(2)
    for source in (tmp_path, dataset):
        found = zf.occlusion(model, images[:2], **OCCLUDER, layer="conv1", others=source)
        assert_others(model, found, images[:2], pool.astype(np.float32))


def test_a_dense_layer_has_a_projection(images):
    flat = keras.Sequential([
        keras.Input((HEIGHT, WIDTH, 3)), keras.layers.Flatten(), keras.layers.Dense(4, name="fc"),
    ])  # fmt: skip
    found = zf.occlusion(flat, images[:1], **OCCLUDER, layer="fc")
    kernel = flat.get_layer("fc").kernel.numpy()[:, found.channel[0]]
    value = flat(images[:1]).numpy()[0, found.channel[0]]
    np.testing.assert_allclose(
        found.projection[0], (value * kernel).reshape(HEIGHT, WIDTH, 3), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("layer", "message"), [("smooth", "activation gelu"), ("row", "must have feature maps")]
)
def test_where_there_is_no_way_down_it_says_why(model, images, tmp_path, layer, message):
    """The other panels are there."""
    found = zf.occlusion(model, images, **OCCLUDER, layer=layer)
    assert found.projection is found.others is found.other_projections is None
    assert found.other_activation is None
    assert message in found.projection_error
    assert found.activation.shape == found.predicted.shape
    loaded = zf.Occlusion.load(found.save(tmp_path / "o.npz"))
    assert loaded.projection_error == found.projection_error
    fine = zf.occlusion(model, images, **OCCLUDER, layer="conv1")
    assert fine.projection_error is None


def test_ties_go_to_the_first(model, images, rng):
    pool = rng.uniform(0, 255, (40, HEIGHT, WIDTH, 3)).astype(np.float32)
    totals = np.tile(np.float32([0, 2, 9, 9, 9]), (40, 1))
    totals[[7, 30], 1] = 3
    found = map_projections(model, "conv1", np.array([1]), images[:1], pool, totals, most=5)
    assert found["others"].tolist() == [[7, 30, 0, 1, 2]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"others": np.zeros((2, WIDTH, HEIGHT, 3))}, r"shape=\(2, 18, 13, 3\)"),
        ({"others": np.zeros((0, HEIGHT, WIDTH, 3))}, r"one or more.*shape=\(0, 13"),
        (
            {"others": np.zeros((2, HEIGHT, WIDTH, 3)), "layer": None},
            "others. Received: layer=None",
        ),
        ({"top_others": -1}, "at least 0. Received: top_others=-1"),
        ({"top_others": 1.5}, "whole number.*top_others=1.5"),
    ],
)
def test_bad_input(model, images, changed, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        zf.occlusion(model, images, **OCCLUDER | {"layer": "conv1"} | changed)


def test_others_of_another_size_where_the_model_takes_any(images):
    pixels = keras.Input((None, None, 3))
    maps = keras.layers.Conv2D(2, 3, name="conv")(pixels)
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps))
    with pytest.raises(ValueError, match=r"size, \(13, 18, 3\). Received.*shape=\(1, 9, 8, 3\)"):
        zf.occlusion(model, images, 7, 6, layer="conv", others=np.zeros((1, 9, 8, 3)))

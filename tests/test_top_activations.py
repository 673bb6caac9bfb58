"""The search for top activations against sorting everything, and its merging."""

import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from PIL import Image

import zfkeras as zf
from zfkeras.analysis import top_result
from zfkeras.analysis.map_statistics import statistics_of
from zfkeras.analysis.top_activations import (
    TopActivations,
    convolutions,
    load_results,
    merge_results,
    save_results,
    top_activations,
)
from zfkeras.analysis.top_search import Searcher
from zfkeras.data.stream import stream

HEIGHT, WIDTH = 13, 18
LAYERS = ["conv1", "conv2", "scores"]


def small_net(seed=3):
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((HEIGHT, WIDTH, 3), name="pixels")
    x = keras.layers.Conv2D(5, (3, 2), strides=2, activation="relu", name="conv1")(pixels)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(7, 2, name="conv2")(x)
    x = keras.layers.Dense(4, name="scores")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(pixels, x)


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def images():
    """Few colours and some images twice, so that there are ties in and between images."""
    rng = np.random.default_rng(5)
    images = 60 * rng.integers(0, 4, (29, HEIGHT, WIDTH, 3)).astype(np.uint8)
    images[[7, 20, 21]] = images[3]
    images[11] = 0
    return images


def output_of(net, layer, images):
    tapped = keras.Model(net.inputs, net.get_layer(layer).output)
    return tapped([images.astype(np.float32)], training=False).numpy()


def expected(net, images, layer, k):
    """Values, positions and keys by loops over all activations."""
    maps = output_of(net, layer, images)
    maps = maps[:, None, None] if maps.ndim == 2 else maps
    values, positions, keys = [], [], []
    for channel in range(maps.shape[3]):
        best = []
        for key, one in enumerate(maps[..., channel]):
            position = max(np.ndindex(one.shape), key=lambda at: (one[at], -at[0], -at[1]))
            best.append((-one[position], key, position))
        best.sort()
        values.append([-value for value, _, _ in best[:k]])
        keys.append([key for _, key, _ in best[:k]])
        positions.append([position for _, _, position in best[:k]])
    return np.array(values, np.float32), np.array(positions), np.array(keys)


def contents(results):
    """All that there is in results, as bytes."""
    return {
        (layer, name): (array.dtype, array.shape, array.tobytes())
        for layer, top in results.items()
        for name, array in top_result._arrays(top)
    }


# === The search ===


def test_a_kept_search_takes_the_weights_of_the_moment(images):
    """The graph is made once for a model, its layers and k; not so what it computes."""
    net = small_net()
    first = top_activations(net, images, LAYERS, k=3)
    searcher = Searcher.of(net, LAYERS, 3)
    assert Searcher.of(net, LAYERS, 3) is searcher
    assert Searcher.of(net, LAYERS, 4) is not searcher
    net.set_weights(small_net(seed=4).get_weights())
    again = top_activations(net, images, LAYERS, k=3)
    new = top_activations(small_net(seed=4), images, LAYERS, k=3)
    for layer in LAYERS:
        np.testing.assert_array_equal(again[layer].values, new[layer].values)
        assert not np.array_equal(again[layer].values, first[layer].values)
    assert Searcher.of(net, LAYERS, 3) is searcher


@pytest.mark.parametrize("batch_size", [1, 8, 29, 40])
def test_the_strongest_units_are_found(net, images, batch_size):
    found = top_activations(net, images, LAYERS, k=6, batch_size=batch_size)
    assert list(found) == LAYERS
    for layer, top in found.items():
        values, positions, keys = expected(net, images, layer, 6)
        np.testing.assert_allclose(top.values, values, rtol=1e-5, atol=1e-4)
        if batch_size == 29:  # computed in one batch like the oracle: ties are ties in both
            np.testing.assert_array_equal(top.keys, keys)
            np.testing.assert_array_equal(top.positions, positions)
        assert top.values.dtype == np.float32
        assert top.positions.dtype == np.int32
        assert top.is_complete
        assert top.seen.tolist() == [[0, 29]]
        assert len(set(map(len, map(set, top.keys.tolist())))) == 1  # one unit per image


def test_equal_images_rank_by_key_and_equal_units_by_position(net, images):
    same = np.repeat(images[:1], 5, axis=0)
    flat = np.full((3, HEIGHT, WIDTH, 3), 128, np.uint8)
    for layer, top in top_activations(net, same, LAYERS, k=3, batch_size=2).items():
        assert (top.keys == [0, 1, 2]).all(), layer
    top = top_activations(net, flat, ["conv1"], k=2)["conv1"]
    assert (top.positions == 0).all()


def test_maps_of_any_height_give_the_first_maximum(rng):
    for height, width in [(1, 5), (2, 3), (7, 4), (9, 2), (12, 5), (30, 3)]:
        net = keras.Sequential([keras.Input((height, width, 3)), keras.layers.Identity(name="x")])
        images = rng.integers(0, 3, (6, height, width, 3)).astype(np.float32)
        top = top_activations(net, images, ["x"], k=6, batch_size=4)["x"]
        _, positions, keys = expected(net, images, "x", 6)
        np.testing.assert_array_equal(top.keys, keys)
        np.testing.assert_array_equal(top.positions, positions)


def test_a_net_without_a_fixed_input_size(rng):
    net = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, name="c")])
    images = rng.uniform(0, 255, (5, 9, 12, 3)).astype(np.float32)
    top = top_activations(net, images, ["c"], k=2, batch_size=5)["c"]
    _, positions, keys = expected(net, images, "c", 2)
    np.testing.assert_array_equal(top.positions, positions)
    np.testing.assert_array_equal(top.keys, keys)


def test_half_precision_nets_give_float32(images):
    keras.utils.set_random_seed(1)
    net = keras.Sequential([
        keras.Input((HEIGHT, WIDTH, 3)),
        keras.layers.Conv2D(4, 3, activation="relu", name="conv", dtype="mixed_bfloat16"),
    ])  # fmt: skip
    top = top_activations(net, images, ["conv"], k=3, batch_size=29)["conv"]
    values, positions, keys = expected(net, images, "conv", 3)
    np.testing.assert_array_equal(top.values, values)
    np.testing.assert_array_equal(top.positions, positions)
    np.testing.assert_array_equal(top.keys, keys)
    assert top.values.dtype == np.float32


def test_what_is_kept_does_not_grow_with_the_data_set(net, images):
    def size(count):
        many = np.concatenate([images] * count)
        return {name: part[:2] for name, part in contents(top_activations(net, many, k=3)).items()}

    assert size(5) == size(1)


def test_statistics_are_of_all_images(net, images):
    labels = np.arange(29) % 3
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    known = tf.data.experimental.assert_cardinality(29)
    data = data.unbatch().apply(known)
    top = top_activations(net, data, ["conv2"], k=2, batch_size=29)["conv2"]
    peaks = output_of(net, "conv2", images).max((1, 2))
    assert contents({"conv2": top})["conv2", "histogram"][2] == (
        statistics_of(peaks, labels).histogram.tobytes()
    )
    np.testing.assert_allclose(top.statistics.mean, peaks.mean(0, dtype=float), atol=2**-20)
    assert top.statistics.class_images.tolist() == [10, 10, 9]
    np.testing.assert_array_equal(top.labels, top.keys % 3)


def test_fewer_images_than_k_leave_the_rest_missing(net, images):
    top = top_activations(net, images[:2], ["conv1"], k=4)["conv1"]
    assert (np.isfinite(top.values) == [True, True, False, False]).all()
    assert (top.keys[:, 2:] == -1).all()
    assert (top.positions[:, 2:] == -1).all()
    assert (top.labels == -1).all()
    assert (top.files == "").all()


def test_the_model_is_not_changed_and_named_layers_may_be_one_string(net, images):
    before = [w.copy() for w in net.get_weights()]
    assert list(top_activations(net, images, "conv2", k=1)) == ["conv2"]
    assert all((a == b).all() for a, b in zip(before, net.get_weights(), strict=True))
    assert list(top_activations(net, images[:3], k=1)) == convolutions(net) == ["conv1", "conv2"]


# === Sharding, saving, resuming ===


@pytest.mark.parametrize("shards", [2, 9])
def test_shards_merge_to_the_bits_of_one_pass(net, images, shards, tmp_path):
    whole = top_activations(net, images, LAYERS, k=4, batch_size=4)
    parts = [
        top_activations(net, images, LAYERS, k=4, batch_size=4, shard=(i, shards))
        for i in range(shards)
    ]
    assert not any(part["conv1"].is_complete for part in parts)
    merged = merge_results(*parts[1:], parts[0])
    assert contents(merged) == contents(whole)
    assert contents(merge_results(merged, *parts)) == contents(whole)
    one = save_results(whole, tmp_path / "one.npz").read_bytes()
    assert save_results(merged, tmp_path / "other.npz").read_bytes() == one


def test_a_search_may_go_on_from_later_images(net, images, tmp_path):
    images = np.concatenate([images, images])  # ties between both halves
    settings = {"layers": LAYERS, "k": 3, "batch_size": 4, "path": tmp_path / "top.npz"}
    for part in (1, 0):
        found = top_activations(net, images, shard=(part, 2), **settings)
    assert contents(found) == contents(top_activations(net, images, LAYERS, k=3, batch_size=4))


def test_a_search_goes_on_from_its_file(net, images, tmp_path, monkeypatch):
    whole = save_results(top_activations(net, images, LAYERS, batch_size=4), tmp_path / "whole.npz")

    class Killed(Exception):
        pass

    def dying():
        for key, image in enumerate(images):
            if key == 14:
                raise Killed
            yield image

    def living():
        yield from images

    path = tmp_path / "top.npz"
    spec = tf.TensorSpec((HEIGHT, WIDTH, 3), tf.uint8)
    row = stream(images, (HEIGHT, WIDTH, 3))
    settings = {"layers": LAYERS, "batch_size": 4, "path": path, "save_every": 1}
    first = dataclasses.replace(
        row,
        keys=tf.data.Dataset.from_generator(dying, output_signature=spec),
        read=lambda x: (x, np.int64(-1)),
    )
    with pytest.raises(ValueError, match="after number 1[1-3] can't be read"):
        top_activations(net, first, **settings)
    assert load_results(path)["conv1"].seen.tolist() == [[0, 12]]
    searched = []
    search = Searcher.__call__
    monkeypatch.setattr(
        Searcher, "__call__", lambda *args: searched.append(1) or search(*args), raising=True
    )
    again = dataclasses.replace(
        first, keys=tf.data.Dataset.from_generator(living, output_signature=spec)
    )
    top_activations(net, again, **settings)
    assert path.read_bytes() == whole.read_bytes()
    assert len(searched) == 5  # batches of 4 from image 12 on
    top_activations(net, again, **settings)
    assert path.read_bytes() == whole.read_bytes()
    assert len(searched) == 5  # nothing was left to do


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 20])
def test_a_killed_search_ends_with_the_same_files(kills, tmp_path):
    net = small_net()
    net.save(tmp_path / "net.keras")
    rng = np.random.default_rng(2)
    for number in range(30 * kills):  # enough that it can't end before the last kill
        folder = tmp_path / "data" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 256, (20, 25, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    (tmp_path / "data" / "class1" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    script = Path(__file__).with_name("kill_top.py")
    run = subprocess.run(
        [sys.executable, script, tmp_path, str(kills)], capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert json.loads(run.stdout.splitlines()[-1])["kills"] == kills
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == ["checked.json", "maps.csv", "top.npz", "units.csv"]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes(), name


def test_another_search_is_not_continued(net, images, tmp_path):
    path = tmp_path / "top.npz"
    settings = {"layers": ["conv1"], "k": 3, "batch_size": 4, "path": path}
    top_activations(net, images, **settings)
    for change in (
        {"k": 2},
        {"batch_size": 5},
        {"layers": ["conv2"]},
        {"layers": ["conv1"] * 2 + ["conv2"]},
    ):
        with pytest.raises(ValueError, match="holds another search.*Received: path="):
            top_activations(net, images, **settings | change)
    with pytest.raises(ValueError, match="holds another search"):
        top_activations(small_net(seed=4), images, **settings)
    with pytest.raises(ValueError, match="holds another search"):
        top_activations(net, images[::-1], **settings)


def test_only_what_belongs_together_merges(net, images):
    a = top_activations(net, images, ["conv1"], k=3, batch_size=4, shard=(0, 2))
    other = top_activations(net, images, ["conv2"], k=3, batch_size=4)
    with pytest.raises(ValueError, match="same layers.*Received: conv1 and conv2"):
        merge_results(a, other)
    with pytest.raises(ValueError, match="one layer of one model.*Received: layer='conv1' and"):
        a["conv1"].merge(other["conv2"])
    with pytest.raises(ValueError, match="same k.*Received: values.shape"):
        a["conv1"].merge(top_activations(net, images, ["conv1"], k=2, batch_size=4)["conv1"])
    b = dataclasses.replace(a["conv1"], seen=np.array([[4, 20]]))
    with pytest.raises(ValueError, match="12 in common|8 in common"):
        a["conv1"].merge(b)


# Results of parts of 12 images with few different values, made by sorting.
PEAKS = np.random.default_rng(1).integers(0, 4, (12, 3)).astype(np.float32)


def result_of(keys):
    keys = np.array(sorted(keys), np.int64)
    peaks = PEAKS[keys]
    blank = top_result.nothing("conv", 3, 4, class_names=("a",), cardinality=12, origin="here")
    for channel in range(3):
        order = sorted(range(len(keys)), key=lambda i, c=channel: (-peaks[i, c], keys[i]))[:4]
        n = len(order)
        blank.values[channel, :n] = peaks[order, channel]
        blank.keys[channel, :n] = keys[order]
        blank.labels[channel, :n] = keys[order] % 2
        blank.positions[channel, :n] = np.stack([keys[order], keys[order] + 1], 1)
    # Names of many lengths: the longest must not leave its width behind when it is merged away.
    files = [["f" * (key + 1) for key in row] for row in blank.keys.tolist()]
    ranges = top_result._union(np.stack([keys, keys + 1], 1), np.zeros((0, 2), int))
    return dataclasses.replace(
        blank, files=np.array(files), statistics=statistics_of(peaks, keys % 2), seen=ranges
    )


parts = st.lists(st.integers(0, 3), min_size=12, max_size=12).map(
    lambda owner: [{key for key in range(12) if owner[key] == part} for part in range(4)]
)


def bits(top):
    return contents({"conv": top})


@given(parts)
@settings(max_examples=60, deadline=None)
def test_merging_is_associative_commutative_and_idempotent(keys):
    a, b, c, d = (result_of(part) for part in keys)
    whole = bits(result_of(set().union(*keys)))
    assert bits(a.merge(b).merge(c).merge(d)) == whole
    assert bits(a.merge(b.merge(c.merge(d)))) == whole
    assert bits(d.merge(b).merge(a.merge(c))) == whole
    assert bits(a.merge(b).merge(a)) == bits(b.merge(a))
    assert bits(a.merge(b).merge(b.merge(a))) == bits(a.merge(b))
    assert bits(a.merge(a.merge(b))) == bits(a.merge(b))
    assert bits(c.merge(c)) == bits(c)


def test_results_of_one_layer_are_saved_and_loaded(net, images, tmp_path):
    results = top_activations(net, images, LAYERS, k=2)
    path = results["conv2"].save(tmp_path / "conv2.npz")
    assert contents({"conv2": TopActivations.load(path)}) == contents({"conv2": results["conv2"]})
    both = save_results(results, tmp_path / "all.npz")
    assert contents(load_results(both)) == contents(results)
    with pytest.raises(ValueError, match="several layers.*Received: path=.*conv1, conv2, scores"):
        TopActivations.load(both)
    (tmp_path / "x.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="no top activations.*Received: path="):
        load_results(tmp_path / "x.npz")


# === Bad input ===


def test_nan_is_refused(net, images):
    bad = images.astype(np.float32)
    bad[4, 6, 6, 1] = np.nan
    with pytest.raises(
        ValueError, match="finite.*layer 'conv1'.*Received: nan in map 0 for image 4"
    ):
        top_activations(net, bad, ["conv1"], batch_size=3)
    broken = small_net()
    kernel, bias = broken.get_layer("conv2").get_weights()
    kernel[..., 3] = np.nan
    broken.get_layer("conv2").set_weights([kernel, bias])
    with pytest.raises(ValueError, match="NaN.*Received: such a weight 'kernel' in layer 'conv2'"):
        top_activations(broken, images, ["conv2"])


def test_one_nan_anywhere_in_a_map_is_found(rng):
    net = keras.Sequential([keras.Input((12, 17, 3)), keras.layers.Identity(name="x")])
    for _ in range(8):
        images = rng.normal(size=(2, 12, 17, 3)).astype(np.float32)
        images[tuple(rng.integers(0, images.shape))] = np.nan
        with pytest.raises(ValueError, match="Received: nan"):
            top_activations(net, images, ["x"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "`k` must be.*Received: k=0"),
        ({"k": 2.5}, "`k` must be.*Received: k=2.5"),
        ({"batch_size": 0}, "`batch_size` must be.*Received: batch_size=0"),
        ({"save_every": 0}, "`save_every` must be.*Received: save_every=0"),
        ({"layers": []}, "At least one layer.*Received: layers="),
        ({"layers": ["conv9"]}, "no layer of this name.*Received: layer='conv9'"),
        ({"shard": (2, 2)}, "`shard` must be.*Received: shard="),
    ],
)
def test_bad_arguments_are_named(net, images, change, message):
    with pytest.raises(ValueError, match=message):
        top_activations(net, images, **{"layers": ["conv1"]} | change)


def test_a_layer_without_maps_is_refused():
    pixels = keras.Input((8, 6, 3))
    x = keras.layers.Reshape((48, 3), name="row")(pixels)
    net = keras.Model(pixels, keras.layers.Dense(2)(x))
    with pytest.raises(ValueError, match="'row' has no feature maps.*Received"):
        top_activations(net, np.zeros((1, 8, 6, 3)), ["row"])
    with pytest.raises(ValueError, match="every convolution.*Received: layers=None"):
        top_activations(net, np.zeros((1, 8, 6, 3)))


# === Pictures that can't be read ===


def test_bad_pictures_of_a_stream_are_skipped_and_named(net, images):
    encoded = [tf.io.encode_png(image).numpy() for image in images[:11]]
    encoded[4] = encoded[4][:20]
    encoded[10] = b"no picture"
    source = zf.data.sources.Source(
        tf.data.Dataset.from_tensor_slices(encoded),
        lambda picture: (picture, tf.constant(0, tf.int64)),
        ("only",),
        11,
        "pictures",
    )
    with pytest.warns(UserWarning, match="2 images can't be read.*image 4 .*; image 10 "):
        found = top_activations(net, source, ["conv1"], k=11, batch_size=3)
    top = found["conv1"]
    assert top.skipped.tolist() == [4, 10]
    assert top.is_complete
    assert set(top.keys.ravel().tolist()) == {0, 1, 2, 3, 5, 6, 7, 8, 9, -1}
    assert top.statistics.images == 9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shards = [
            top_activations(net, source, ["conv1"], k=11, batch_size=3, shard=(i, 4))
            for i in range(4)
        ]
    assert contents(merge_results(*shards)) == contents(found)


def test_a_source_of_nothing_but_bad_pictures_is_an_error(net):
    source = zf.data.sources.Source(
        tf.data.Dataset.from_tensor_slices(["a", "b"]),
        lambda picture: (picture, tf.constant(0, tf.int64)),
        ("only",),
        2,
        "pictures",
    )
    with pytest.raises(ValueError, match="No image can be read.*Received: dataset=pictures"):
        top_activations(net, source, ["conv1"])


def test_a_data_set_of_unknown_length_that_is_empty(net, images):
    none = tf.data.Dataset.from_tensor_slices(images).filter(lambda _: False)
    with pytest.raises(ValueError, match="empty.*Received: dataset="):
        top_activations(net, none, ["conv1"])


# === Replicas ===


@pytest.mark.slow
def test_every_replica_takes_part(tmp_path):
    script = Path(__file__).with_name("mirrored_top.py")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found == {"replicas": 2, "equal": True, "shards_equal": True}

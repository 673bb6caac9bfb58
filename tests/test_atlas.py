"""The atlas: its pictures, numbers and pages, on a small net whose winners are known."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiers import first_by_default

from zfkeras import image
from zfkeras.analysis.top_result import load_results
from zfkeras.atlas import Winners, projecting, sheets, write_atlas
from zfkeras.data.stream import stream
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.deconvnet.rules import identity, rectify
from zfkeras.graph.receptive_fields import receptive_field

SIZE = (44, 38)


def net():
    """Two convolutions with a pool between; map 2 of conv1 never fires."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((*SIZE, 3))
    conv1 = keras.layers.Conv2D(5, 5, 2, activation="relu", name="conv1")
    x = keras.layers.MaxPooling2D(2)(conv1(pixels))
    conv2 = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv2")
    model = keras.Model(pixels, conv2(x), name="little")
    kernel, bias = conv1.get_weights()
    kernel[..., 2], bias[2] = -0.1, -1
    conv1.set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(5)
    small = rng.integers(0, 256, (11, 6, 5, 3)).astype("uint8")
    return np.stack([image.fit(one, SIZE) for one in small])


@pytest.fixture(scope="module")
def data(photos, tmp_path_factory):
    """The photos as a folder of three classes."""
    root = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(photos):
        image.save(root / f"class {number % 3} & <b>/{number:02d}.png", photo)
    return root


@pytest.fixture(scope="module")
def site(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    write_atlas(net(), data, folder, k=4, batch_size=4, arrays=True)
    return folder


def told(site, name):
    """What a script of the site hands over."""
    text = (site / "data" / name).read_text()
    return json.loads(re.fullmatch(r'atlas\.take\("[^"]*", (.*)\);\n', text)[1])


def winners(site, layer):
    (path,) = site.glob(f"winners/*-{layer}-*.npz")
    return Winners.load(path)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "checked.json"
    }


# === Numbers ===


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_projections_are_those_of_the_whole_image(site, data, layer):
    """Against DeconvNet.project, cut by hand."""
    found, top = winners(site, layer), load_results(site / "top.npz")[layer]
    model, field = net(), receptive_field(net(), layer)
    images = stream(data, (*SIZE, 3))
    assert len(found.units) == (top.values > 0).sum()
    for index in range(0, len(found.units), 3):
        channel, rank = found.units[index]
        key, position = top.keys[channel, rank], tuple(top.positions[channel, rank].tolist())
        assert found.keys[index] == key
        assert found.values[index] == pytest.approx(top.values[channel, rank], rel=1e-5)
        (picture,), _, _ = images.pick([key])
        whole = DeconvNet(model).project(
            picture[None], layer, channels=[int(channel)], position=position
        )
        box = found.boxes[index]
        assert field.box(position, SIZE) == tuple(np.clip(box, 0, SIZE * 2))
        assert found.scales[index] == pytest.approx(np.abs(whole.pixels).max(), rel=1e-4)
        expected = whole.pixels[0, 0] / found.scales[index]
        for at in np.ndindex(found.projections.shape[1:3]):
            row, column = at[0] + box[0], at[1] + box[1]
            if 0 <= row < SIZE[0] and 0 <= column < SIZE[1]:
                np.testing.assert_allclose(
                    found.projections[(index, *at)], expected[row, column], atol=1e-3
                )
                want = np.rint(picture[row, column])
                np.testing.assert_array_equal(found.patches[(index, *at)], want)
            else:
                assert (found.patches[(index, *at)] == 128).all()
                assert (found.projections[(index, *at)] == 0).all()


def test_the_pages_numbers_are_the_searchs(site):
    results = load_results(site / "top.npz")
    index = told(site, "index.js")
    assert (index["images"], index["k"], index["size"]) == (11, 4, list(SIZE))
    assert [layer["name"] for layer in index["layers"]] == ["conv1", "conv2"]
    assert next(layer["dead"] for layer in index["layers"]) == 1
    assert index["layers"][1]["field"] == list(receptive_field(net(), "conv2").size)
    for layer in index["layers"]:
        top = results[layer["name"]]
        for one in told(site, Path(layer["data"]).name)["maps"]:
            channel = one["map"]
            assert one["maximum"] == pytest.approx(top.statistics.maximum[channel], rel=1e-5)
            assert sum(one["histogram"]["counts"]) == 11
            assert len(one["units"]) == (top.values[channel] > 0).sum()
            for rank, (key, value, row, column, *box) in enumerate(one["units"]):
                assert value == pytest.approx(top.values[channel, rank], rel=1e-5)
                assert key == top.keys[channel, rank]
                assert [row, column] == top.positions[channel, rank].tolist()
                assert box[2] - box[0] == layer["field"][0]
                assert index["pictures"][str(key)][0] == top.files[channel, rank]
                assert (site / f"images/{key:07d}.jpg").is_file()


CHOICES = ({"rule": "guided"}, {"rules": {"relu": rectify}}, {"rules": {"relu": identity}})


@pytest.mark.parametrize("choices", first_by_default(CHOICES))
def test_winners_of_another_rule_are_projected_anew(data, site, tmp_path, choices):
    """A call that goes on in a folder must not take over pictures of the deconvnet before."""
    folder = shutil.copytree(site, tmp_path / "site")
    write_atlas(net(), data, folder, k=4, batch_size=4, arrays=True, **choices)
    write_atlas(net(), data, tmp_path / "new", k=4, batch_size=4, arrays=True, **choices)
    again, new = winners(folder, "conv2"), winners(tmp_path / "new", "conv2")
    assert again.origin == new.origin != winners(site, "conv2").origin
    np.testing.assert_array_equal(again.projections, new.projections)


def test_a_page_says_why_its_layer_is_shown_with_whole_images(data, tmp_path):
    pixels = keras.Input((*SIZE, 3))
    turned = keras.layers.Permute((2, 1, 3), name="turned")(pixels)
    conv = keras.layers.Conv2D(3, 5, 2, activation="relu", name="conv")(turned)
    write_atlas(keras.Model(pixels, conv), data, tmp_path, k=2, rules={"permute": back})
    (layer,) = told(tmp_path, "index.js")["layers"]
    assert layer["field"] is None
    assert "layer 'turned'" in layer["why"]


def back(_, signal):
    return tf.transpose(signal, (0, 2, 1, 3))


def test_the_tables_are_there(site):
    with (site / "units.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["layer"] for row in rows} == {"conv1", "conv2"}
    assert (site / "maps.csv").read_text().count("\n") == 1 + 5 + 6


def test_a_dead_map_has_no_sheet(site):
    maps = {one["map"]: one for one in told(site, "00-conv1.js")["maps"]}
    assert maps[2]["sheet"] is None
    assert maps[2]["units"] == []
    assert maps[2]["mosaic"][1] == 2  # its column is grey, not left out
    assert maps[1]["sheet"]["columns"] == 4


# === Pictures ===


def test_a_sheet_holds_patches_above_projections(site):
    """Tiny fields are stored without loss: read back, they are the arrays to the bit."""
    found, one = winners(site, "conv2"), told(site, "01-conv2.js")["maps"][3]
    sheet = np.asarray(Image.open(site / one["sheet"]["file"]))
    height, width = one["sheet"]["tile"]
    chosen = np.flatnonzero(found.units[:, 0] == 3)
    shown = image.to_display(found.projections[chosen], 99.5)
    assert (height, width) == found.patches.shape[1:3]
    for rank, index in enumerate(chosen):
        columns = slice(rank * width, (rank + 1) * width)
        np.testing.assert_array_equal(sheet[:height, columns], found.patches[index])
        np.testing.assert_array_equal(sheet[height:, columns], shown[rank])


def test_cells_of_photographs_are_whole_blocks(tmp_path):
    """A field of 50 x 41: neighbours in a JPEG must not bleed into one another."""
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    patches = np.broadcast_to(colours[:, None, None], (2, 50, 41, 3))
    many = Winners(
        "deep", "", np.array([7]), np.array([[7, 0], [7, 1]]), np.array([3, 5]),
        np.ones(2, np.float32), np.zeros((2, 4), np.int64), np.ones(2, np.float32),
        patches, np.zeros(patches.shape, np.float16),
    )  # fmt: skip
    (drawn,) = sheets.draw(many, tmp_path, "sheets/deep", 2)
    assert drawn.sheet.file == "sheets/deep/0007.jpg"
    assert (drawn.sheet.tile, drawn.sheet.cell) == ((50, 41), (56, 48))
    sheet = np.asarray(Image.open(tmp_path / drawn.sheet.file)).astype(int)
    assert sheet.shape == (2 * 56, 2 * 48, 3)
    assert np.abs(sheet[:50, :41] - colours[0]).max() <= 3
    assert np.abs(sheet[:50, 48:89] - colours[1]).max() <= 3
    assert np.abs(sheet[56:] - 128).max() <= 3


# === Memory, choice, errors ===


def test_maps_are_grouped_by_the_images_they_share(site):
    top = load_results(site / "top.npz")["conv2"]
    assert projecting.parts(top, range(6), 1) == [[0, 1, 2, 3, 4, 5]]
    alone = projecting.parts(top, range(6), 1, bytes_a_part=1)
    assert alone == [[0], [1], [2], [3], [4], [5]]
    both = projecting.parts(top, range(6), 1, bytes_a_part=16)
    assert len(both) > 1
    assert [one for group in both for one in group] == list(range(6))
    for group in both:
        images = len(set(top.keys[group].ravel().tolist()))
        assert len(group) == 1 or images + 4 * len(group) <= 16


@pytest.mark.slow
def test_parts_make_the_same_site(site, data, tmp_path, monkeypatch):
    monkeypatch.setattr(projecting, "BYTES_A_PART", 1)
    monkeypatch.setattr(projecting, "BYTES_HELD", 1)
    monkeypatch.setattr(projecting.parts, "__defaults__", (1,))
    write_atlas(net(), data, tmp_path, k=4, batch_size=4, arrays=True)
    assert len(list(tmp_path.glob("winners/*.npz"))) == 11
    whole = files(site)
    for name, content in files(tmp_path).items():
        if name.startswith("sheets") and "mosaics" not in name:
            assert whole[name] == content


def test_some_maps_some_layers_without_arrays(data, tmp_path):
    write_atlas(net(), data, tmp_path, ["conv2"], k=2, maps=3, title="T", batch_size=4)
    index = told(tmp_path, "index.js")
    assert (index["title"], index["k"], index["layers"][0]["shown"]) == ("T", 2, 3)
    found = winners(tmp_path, "conv2")
    strongest = load_results(tmp_path / "top.npz")["conv2"].values[:, 0].argsort()[-3:]
    assert found.maps.tolist() == sorted(strongest.tolist())
    assert found.projections is None
    assert found.patches is None
    assert len(found.boxes)
    assert len(load_results(tmp_path / "top.npz")["conv2"].values) == 6


def test_a_net_from_a_file_that_turns_colours_round_is_still_local(tmp_path, photos):
    """As keras.applications do; the index comes back from the file as a list."""
    pixels = keras.Input((*SIZE, 3))
    x = keras.layers.Conv2D(3, 5, activation="relu", name="c")(pixels[..., ::-1])
    keras.Model(pixels, x).save(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    write_atlas(model, photos, tmp_path / "site", arrays=True)
    assert told(tmp_path / "site", "index.js")["layers"][0]["field"] == [5, 5]
    assert winners(tmp_path / "site", "c").projections.shape[1:] == (5, 5, 3)


def test_fields_larger_than_the_image_show_what_is_seen_of_it(tmp_path, photos):
    """Of a 46 x 46 field over small images: grey where the unit sees nothing."""
    pixels = keras.Input((*SIZE, 3))
    x = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(3, 9, padding="same")(pixels))
    x = keras.layers.Conv2D(4, 19, padding="same", activation="relu", name="c")(x)
    model = keras.Model(pixels, x)
    field = receptive_field(model, "c")
    assert min(field.size) > max(SIZE)
    write_atlas(model, photos, tmp_path, ["c"], k=3, arrays=True)
    found, top = winners(tmp_path, "c"), load_results(tmp_path / "top.npz")["c"]
    assert found.patches.shape[1:3] == SIZE
    sides = set()
    for index, (channel, rank) in enumerate(found.units):
        position = tuple(top.positions[channel, rank].tolist())
        seen = field.box(position, SIZE)
        assert tuple(found.boxes[index]) == seen
        (picture,), _, _ = stream(photos, (*SIZE, 3)).pick([found.keys[index]])
        expected = np.full((*SIZE, 3), 128.0)
        inside = slice(seen[0], seen[2]), slice(seen[1], seen[3])
        expected[inside] = np.rint(picture[inside])
        np.testing.assert_array_equal(found.patches[index], expected)
        sides.add(seen)
    assert len(sides) > 1
    assert any(box != (0, 0, *SIZE) for box in sides)


def test_what_all_maps_have_in_common_is_no_colour_of_one(rng):
    """The tint of all is taken off; of few maps nothing is, and a map's own colour stays."""
    tint = np.array([0.5, -0.2, 0.3], np.float32)
    noise = rng.normal(size=(40, 6, 5, 3)).astype(np.float32)
    noise -= noise.mean((0, 1, 2))
    cast = sheets._cast(noise + tint, maps=8)
    signal = noise + tint
    expected = signal.sum((0, 1, 2)) / np.abs(signal).mean(3).sum()
    np.testing.assert_allclose(cast, expected, rtol=1e-4)
    assert not sheets._cast(noise + tint, maps=7).any()
    opposite = np.concatenate([noise[:20] * 0 + tint, noise[20:] * 0 - tint])
    np.testing.assert_allclose(sheets._cast(opposite, maps=8), 0, atol=1e-6)


def test_a_map_is_shown_close_up_where_its_signal_is():
    """A signal in the middle 20 x 16 of 60 x 48 fills the small pictures."""
    projections = np.zeros((1, 60, 48, 3), np.float32)
    projections[0, 20:40, 16:32] = 1
    rows, columns = sheets._where(projections)
    assert (rows, columns) == (slice(20, 40), slice(16, 32))
    assert sheets._where(np.ones((1, 60, 48, 3)))[0].start <= 2


def test_more_units_than_images_and_grey_images(tmp_path, rng):
    pixels = keras.Input((20, 17, 1))
    model = keras.Model(pixels, keras.layers.Conv2D(3, 3, activation="relu", name="c")(pixels))
    write_atlas(model, rng.uniform(0, 255, (2, 20, 17, 1)), tmp_path, k=9)
    assert max(len(one["units"]) for one in told(tmp_path, "00-c.js")["maps"]) == 2


def test_dense_layers_show_whole_images(tmp_path, rng):
    pixels = keras.Input((20, 17, 3))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="c")(pixels)
    fc = keras.layers.Dense(4, activation="relu", name="fc")(keras.layers.Flatten()(x))
    model = keras.Model(pixels, fc)
    write_atlas(model, rng.integers(0, 256, (5, 20, 17, 3)).astype("uint8"), tmp_path, ["fc"], k=4)
    layer = told(tmp_path, "index.js")["layers"][0]
    assert (layer["field"], layer["size"]) == ([20, 17], [])
    units = [unit for one in told(tmp_path, "00-fc.js")["maps"] for unit in one["units"]]
    assert units
    assert all(unit[2:] == [0, 0, 0, 0, 20, 17] for unit in units)


def test_bad_input_is_named(photos, site, tmp_path):
    with pytest.raises(ValueError, match="whole number of at least 1. Received: maps=0"):
        write_atlas(net(), photos, tmp_path, maps=0)
    with pytest.raises(ValueError, match="data set is empty"):
        write_atlas(net(), photos[:0], tmp_path)
    pixels = keras.Input((20, 17, 2))
    two = keras.Model(pixels, keras.layers.Conv2D(3, 3, name="c")(pixels))
    with pytest.raises(ValueError, match="1 or 3 channels. Received.*2"):
        write_atlas(two, photos, tmp_path)
    with pytest.raises(ValueError, match="holds another search"):
        write_atlas(net(), photos, site, k=4, batch_size=4)


# === Again, and after being killed ===


def test_again_nothing_is_computed_and_nothing_changes(site, data, monkeypatch):
    before = files(site)
    monkeypatch.setattr(projecting, "project", None)  # would fail if called
    write_atlas(net(), data, site, k=4, batch_size=4, arrays=True)
    assert files(site) == before


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 20])
def test_killed_again_and_again_it_ends_with_the_same_bytes(data, tmp_path, kills):
    net().save(tmp_path / "net.keras")
    script = Path(__file__).with_name("kill_atlas.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, data, str(kills)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] == kills
    whole, killed = files(tmp_path / "whole"), files(tmp_path / "killed")
    staged = [name for name in killed if Path(name).name.startswith(".")]  # torn by a kill
    assert {name: killed[name] for name in killed if name not in staged} == whole

"""FeatureEvolution and `zfkeras evolution` (Fig. 4; method.md, Strongest units)."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import zfkeras as zf
from zfkeras import image
from zfkeras.analysis.evolution import (
    FeatureEvolution,
    chosen_maps,
    load_evolution,
    save_snapshot,
    snapshots,
)
from zfkeras.cli import app
from zfkeras.cli.evolution import _epoch_models
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.report import evolution as drawing

SIZE = (14, 11)
MAPS = {"conv1": [1, 3], "conv2": [0, 2, 4]}


def net(seed=1):
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="conv2")(x)
    model = keras.Model(pixels, keras.layers.Dense(3, name="out")(keras.layers.Flatten()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    return model


def photos():
    return np.random.default_rng(2).integers(0, 256, (10, *SIZE, 3)).astype("uint8")


def fit(model, callback, epochs, initial_epoch=0):
    labels = np.arange(10) % 3
    model.fit(
        photos(),
        labels,
        batch_size=10,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[callback],
    )


def check(model, snapshot):
    """Against a search with NumPy and the projection of whole images."""
    images = photos()
    maps = keras.Model(model.input, model.get_layer(snapshot.layer).output)
    activations = np.asarray(maps(images.astype("float32")))
    for number, channel in enumerate(snapshot.channels.tolist()):
        strongest = activations[..., channel].max()
        assert snapshot.values[number] == pytest.approx(strongest, rel=1e-5)
        if strongest <= 0:
            continue
        key, row, column = np.argwhere(activations[..., channel] == strongest)[0].tolist()
        assert snapshot.keys[number] == key
        whole = DeconvNet(model).project(
            images[[key]], snapshot.layer, channels=[channel], position=(row, column)
        )
        got, pixels = snapshot.pixels[number], whole.pixels[0, 0]
        assert np.abs(got).sum() == pytest.approx(np.abs(pixels).sum(), rel=1e-4)
        assert np.abs(got).max() == pytest.approx(np.abs(pixels).max(), rel=1e-4)


def test_it_looks_at_exactly_these_epochs_and_finds_the_strongest(tmp_path):
    model, callback = net(), FeatureEvolution(photos(), maps=MAPS, epochs=[1, 3], folder=tmp_path)
    seen = {}
    after = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.update({epoch + 1: model.get_weights()})
    )
    model.fit(photos(), np.arange(10) % 3, epochs=4, verbose=0, callbacks=[callback, after])
    kept = load_evolution(tmp_path)
    assert {layer: [s.epoch for s in found] for layer, found in kept.items()} == {
        "conv1": [1, 3],
        "conv2": [1, 3],
    }
    assert len(list(tmp_path.iterdir())) == 4
    for layer, found in kept.items():
        for snapshot in found:
            assert snapshot.channels.tolist() == MAPS[layer]
            model.set_weights(seen[snapshot.epoch])
            check(model, snapshot)
    assert not np.array_equal(kept["conv2"][0].values, kept["conv2"][1].values)


def test_the_papers_epochs_are_the_default(tmp_path):
    model = net()
    fit(model, FeatureEvolution(photos(), ["conv1"], 1, folder=tmp_path), epochs=6)
    assert [s.epoch for s in load_evolution(tmp_path)["conv1"]] == [1, 2, 5]


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_the_series(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = {"maps": MAPS, "epochs": [1, 2, 4]}
    fit(net(), FeatureEvolution(photos(), folder=whole, **settings), epochs=4)
    model = net()
    fit(model, FeatureEvolution(photos(), folder=parts, **settings), epochs=2)
    fit(model, FeatureEvolution(photos(), folder=parts, **settings), epochs=4, initial_epoch=2)
    for layer, found in load_evolution(whole).items():
        for one, other in zip(found, load_evolution(parts)[layer], strict=True):
            assert one.epoch == other.epoch
            np.testing.assert_allclose(one.pixels, other.pixels, rtol=1e-5)
            np.testing.assert_array_equal(one.keys, other.keys)


def test_it_writes_pictures_for_tensorboard(tmp_path):
    event_file_loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader"
    )
    callback = FeatureEvolution(
        photos(), maps=MAPS, epochs=[2], folder=tmp_path / "npz", tensorboard=tmp_path / "logs"
    )
    fit(net(), callback, epochs=2)
    (path,) = (tmp_path / "logs").iterdir()
    values = {
        value.tag: (event.step, value.tensor.string_val)
        for event in event_file_loader.EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    assert set(values) == {"evolution/conv1", "evolution/conv2"}
    step, (_, _, png) = values["evolution/conv2"]
    found = load_evolution(tmp_path / "npz")["conv2"][0]
    assert step == 2
    shown = image.grid([image.to_display(pixels) for pixels in found.pixels])
    np.testing.assert_array_equal(image.load(png), shown)


@pytest.mark.slow
def test_on_two_replicas_it_finds_the_same(tmp_path):
    script = Path(__file__).with_name("mirrored_evolution.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"replicas": 2, "epochs": [1, 2]}


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="counted from 1. Received: epochs="):
        FeatureEvolution(photos(), epochs=[0, 2], folder=tmp_path)
    with pytest.raises(ValueError, match="must name some epochs"):
        FeatureEvolution(photos(), epochs=[], folder=tmp_path)
    for maps in ({"conv1": [4]}, {"conv1": [-1]}, {"conv1": []}, 0):
        with pytest.raises(ValueError, match="0 to 3, or say how many. Received: maps="):
            fit(net(), FeatureEvolution(photos(), ["conv1"], maps, folder=tmp_path), epochs=1)
    with pytest.raises(ValueError, match="no layer of this name"):
        fit(net(), FeatureEvolution(photos(), ["conv9"], folder=tmp_path), epochs=1)
    with pytest.raises(ValueError, match="no evolution here.*Received: folder="):
        load_evolution(tmp_path)
    assert chosen_maps(net(), maps=99)["conv2"] == [0, 1, 2, 3, 4]


# === The strip ===


def test_the_strip_has_a_row_for_each_map_and_a_column_for_each_epoch():
    found = [snapshots(net(seed), photos(), MAPS, seed)[1] for seed in (1, 2)]
    picture = drawing.tiles(found)
    side = found[0].pixels.shape[1]
    assert picture.shape == (3 * (side + 1) + 1, 2 * (side + 1) + 1, 3)
    for number, snapshot in enumerate(found):
        for row in range(3):
            top, left = 1 + row * (side + 1), 1 + number * (side + 1)
            tile = picture[top : top + side, left : left + side]
            expected = image.to_display(snapshot.pixels[row], image.CONTRAST)
            np.testing.assert_array_equal(tile, expected)
    both = drawing.tiles(found, patches=True)
    assert both.shape[0] == 6 * (side + 1) + 1
    seen = np.rint(found[1].patches[0])
    tile = both[side + 2 : 2 * side + 2, side + 2 : 2 * side + 2]
    np.testing.assert_array_equal(tile, seen)
    axes = drawing.strip(found).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "2", "4"]


def test_a_strip_is_of_one_layer():
    one, other = snapshots(net(), photos(), MAPS, 1)
    with pytest.raises(ValueError, match="of one layer.*conv1.*conv2"):
        drawing.strip([one, other])
    with pytest.raises(ValueError, match="Received: snapshots of \\[\\]"):
        drawing.strip([])


# === The command ===


def run(*arguments):
    result = CliRunner().invoke(app, ["evolution", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.slow
def test_the_command_takes_a_runs_snapshots(tmp_path):
    (tmp_path / "run/snapshots").mkdir(parents=True)
    for epoch in (2, 10):
        net(epoch).save(tmp_path / f"run/snapshots/epoch-{epoch:04d}.keras")
    for number, photo in enumerate(photos()):
        image.save(tmp_path / f"data/{number}.png", photo)
    common = ["--data", tmp_path / "data", "--maps", "0,2", "--json"]
    told = json.loads(run(tmp_path / "run", "--layers", "conv2", *common).stdout)
    assert set(told["strips"]) == {"conv2"}
    assert image.load(told["strips"]["conv2"]).std() > 0
    first, second = load_evolution(tmp_path / "run/evolution")["conv2"]
    assert (first.epoch, second.epoch, first.channels.tolist()) == (2, 10, [0, 2])
    assert first.files[0].endswith(".png")
    with pytest.raises(ValueError, match="shown pictures, by --data"):
        run(tmp_path / "run")


def test_the_command_takes_what_the_callback_wrote(tmp_path):
    for seed in (1, 2):
        for snapshot in snapshots(net(seed), photos(), MAPS, seed):
            save_snapshot(snapshot, tmp_path / "kept")
    result = run(tmp_path / "kept", "--output", tmp_path / "strips", "--patches")
    assert result.stdout.count("strips/conv") == 2
    with pytest.raises(ValueError, match="of the layers conv1, conv2. Received: layers='fc'"):
        run(tmp_path / "kept", "--layers", "fc")
    with pytest.raises(ValueError, match="--maps must be numbers"):
        run(tmp_path / "kept", "--maps", "some")


def test_layers_of_like_names_keep_files_of_their_own(tmp_path):
    parts = {"channels": np.arange(1), "pixels": np.zeros((1, 2, 2, 3), np.float32),
             "patches": np.zeros((1, 2, 2, 3), np.float32), "values": np.ones(1, np.float32),
             "keys": np.zeros(1, np.int64), "files": np.array([""])}  # fmt: skip
    names = ["a/b", "a-b", "a:b", "a b", "größe"]
    for name in names:
        save_snapshot(zf.Snapshot(layer=name, epoch=1, **parts), tmp_path)
    assert sorted(zf.load_evolution(tmp_path)) == sorted(names)


def test_the_command_takes_checkpoints_of_any_epoch_and_format(tmp_path):
    for name in ("epoch-01.keras", "epoch-12-0.53.keras", "epoch-3.h5", "epoch-x.keras", "a.keras"):
        (tmp_path / name).write_bytes(b"")
    found = _epoch_models(tmp_path)
    assert {epoch: file.name for epoch, file in found.items()} == {
        1: "epoch-01.keras", 12: "epoch-12-0.53.keras", 3: "epoch-3.h5"
    }  # fmt: skip

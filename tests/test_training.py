"""Training: recipes, schedules, exact resume after a kill, two devices, divergence."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from zfkeras import image
from zfkeras.data.folders import image_folder
from zfkeras.data.generated import generated
from zfkeras.data.sources import Source, from_arrays
from zfkeras.layers import PixelMean
from zfkeras.models.zfnet import ZFNet
from zfkeras.training import fit as training
from zfkeras.training.fingerprint import fingerprint
from zfkeras.training.optimizer import CoupledSGD
from zfkeras.training.recipes import RECIPES, Recipe, recipe

SMALL = {"batch_size": 8, "kernel_initializer": None}


def net(seed=3, **arguments):
    keras.utils.set_random_seed(seed)
    return ZFNet(**({"classes": 3, "input_shape": (64, 56, 3), "width": 0.03} | arguments))


def pictures(count=24):
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (count, 66, 70, 3), dtype=np.uint8)
    return from_arrays(images, rng.integers(0, 3, count), ["a", "b", "c"], "noise")


def weights(model):
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def learned(model):
    """All but the states of random generators, which Keras' files leave out."""
    return [np.asarray(v) for v in model.variables if not v.path.endswith("seed_generator_state")]


def train(model, folder, epochs, **arguments):
    settings = recipe("krizhevsky", **(SMALL | {"epochs": epochs} | arguments.pop("change", {})))
    source = arguments.pop("source", None) or pictures()
    arguments = {"validation": source, "progress": 0} | arguments
    return training.train(model, source, settings, folder, **arguments)


# === Recipes ===


def test_the_papers_recipes():
    paper = RECIPES["zeiler-fergus"]
    assert (paper.learning_rate, paper.momentum, paper.batch_size) == (1e-2, 0.9, 128)
    assert (paper.epochs, paper.dropout, paper.max_filter_rms) == (70, 0.5, 0.1)
    assert (paper.schedule, paper.factor, paper.max_drops) == ("plateau", 0.1, 3)
    assert (paper.weight_decay, paper.colour, paper.crop) == (0.0, 0.0, "ten")
    krizhevsky = RECIPES["krizhevsky"]
    assert (krizhevsky.weight_decay, krizhevsky.colour, krizhevsky.crop) == (5e-4, 0.1, "random")
    assert (krizhevsky.max_filter_rms, krizhevsky.epochs) == (None, 90)
    assert paper.scale == krizhevsky.scale == (256 / 224, 256 / 224)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [("zf", {}, "Allowed: zeiler-fergus, krizhevsky, imagenette. Received: name='zf'"),
     ("krizhevsky", {"lr": 1}, "no attribute 'lr'. Allowed: epochs.*Received: lr=1"),
     ("krizhevsky", {"epochs": 0}, "epochs must be 1 to inf. Received: epochs=0"),
     ("krizhevsky", {"learning_rate": -1}, "Received: learning_rate=-1"),
     ("krizhevsky", {"dropout": 1.0}, "0 to 0.99. Received: dropout=1.0"),
     ("krizhevsky", {"epochs": "many"}, "epochs must be a number.*Received: epochs='many'"),
     ("krizhevsky", {"schedule": "step"}, "plateau, cosine. Received: schedule='step'"),
     ("krizhevsky", {"optimizer": "adam"}, "sgd, adamw. Received: optimizer='adam'")],
)  # fmt: skip
def test_recipes_refuse(name, changes, message):
    with pytest.raises(ValueError, match=message):
        recipe(name, **changes)


# === The optimizer ===


def test_weight_decay_is_coupled_and_spares_biases():
    kernel, bias = keras.Variable(np.ones((2, 3))), keras.Variable(np.ones(3))
    optimizer = CoupledSGD(0.1, 0.9, coupled_decay=0.5)
    gradients = [keras.ops.full((2, 3), 2.0), keras.ops.full((3,), 2.0)]
    expected, velocity, expected_bias, bias_velocity = 1.0, 0.0, 1.0, 0.0
    for _ in range(3):
        optimizer.apply(gradients, [kernel, bias])
        # Krizhevsky: v <- 0.9 v - lr (gradient + decay w), w <- w + v
        velocity = 0.9 * velocity - 0.1 * (2.0 + 0.5 * expected)
        bias_velocity = 0.9 * bias_velocity - 0.1 * 2.0
        expected, expected_bias = expected + velocity, expected_bias + bias_velocity
        np.testing.assert_allclose(kernel, np.full((2, 3), expected), rtol=1e-6)
        np.testing.assert_allclose(bias, np.full(3, expected_bias), rtol=1e-6)


def test_the_optimizer_survives_its_config():
    config = keras.optimizers.serialize(CoupledSGD(0.1, 0.8, 0.3, nesterov=True))
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, CoupledSGD)
    assert (again.coupled_decay, again.momentum, again.nesterov) == (0.3, 0.8, True)


# === A run ===


def test_a_run_leaves_what_it_promises(tmp_path):
    model = net()
    history = train(model, tmp_path, 2, snapshots=[1], tensorboard=True)
    assert json.loads((tmp_path / "history.json").read_text()) == history
    assert [row["epoch"] for row in history] == [1, 2]
    assert set(history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_top5", "learning_rate"
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["epoch-0001.keras"]
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(learned(loaded), learned(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_the_pixel_mean_is_that_of_the_central_crops(tmp_path):
    source = pictures()
    model = net()
    train(model, tmp_path, 1, source=source)
    mean = next(layer for layer in model.layers if isinstance(layer, PixelMean)).mean
    images = np.stack([image for image, _ in source.examples]).astype(np.float64)
    # 66 x 70 already covers 8/7 of 56, but not of 64: it is resized to 73 x 77.
    resized = keras.ops.image.resize(images, (73, 77), antialias=True)
    expected = np.asarray(resized)[:, 4:68, 10:66].mean(0)
    np.testing.assert_allclose(mean, expected, atol=0.01)


def test_filters_stay_within_their_radius(tmp_path):
    model = net(max_filter_rms=0.05)
    train(model, tmp_path, 1, change={"learning_rate": 0.05})
    for name in ("conv1", "conv3"):
        kernel = np.asarray(model.get_layer(name).kernel)
        assert np.sqrt((kernel**2).mean((0, 1, 2))).max() <= 0.05 * 1.0001


@pytest.mark.slow
def test_a_net_learns_the_generated_set(tmp_path):
    source = generated(count=160, image_size=64)
    model = net(classes=8, input_shape=(48, 48, 3), width=0.2, dropout=0.1)
    settings = recipe("imagenette", epochs=12, batch_size=16, learning_rate=2e-3, colour=0.0)
    history = training.train(model, source, settings, tmp_path, source, progress=0)
    assert history[-1]["val_accuracy"] > 0.5  # chance is 0.125


def test_the_cosine_schedule_ends_at_zero(tmp_path):
    change = {"schedule": "cosine", "warmup_epochs": 1}
    history = train(net(), tmp_path, 3, change=change)
    rates = [row["learning_rate"] for row in history]
    np.testing.assert_allclose(rates, [0.01, 0.005, 0.0], atol=1e-6)


def test_annealing_divides_at_plateaus_and_stops_dividing(tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.4, 0.5, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1])

    class Fake:
        def __init__(self, accuracy):
            self.accuracy, self.loss = accuracy, 1.0

        def top(self, k):
            return 1.0

    monkeypatch.setattr(training.Classifier, "__call__", lambda *_: Fake(next(accuracies)))
    history = train(net(), tmp_path, 10, change={"patience": 2, "max_drops": 2})
    rates = [row["learning_rate"] for row in history]
    drops = [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01]
    np.testing.assert_allclose(rates, 0.01 * np.array(drops), rtol=1e-5)


def test_divergence_is_named_and_keeps_the_epoch_before(tmp_path):
    class Poison(keras.callbacks.Callback):
        """Makes the third step of the second epoch see infinite weights."""

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (1, 1):
                self.model.get_layer("logits").bias.assign([np.inf, 0.0, 0.0])

    with pytest.raises(training.DivergedError, match=r"nan in epoch 2, step 3\..*Received: learn"):
        train(net(), tmp_path, 3, callbacks=[Poison()])
    assert len(json.loads((tmp_path / "history.json").read_text())) == 1
    with np.load(tmp_path / "state.npz") as state:
        assert all(np.isfinite(state[name]).all() for name in state.files if name != "notes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"validation": None}, "watches the validation error.*Received: validation=None"),
     ({"change": {"batch_size": 25}}, "1 to 24 examples.*batch_size=25")],
)  # fmt: skip
def test_runs_that_cannot_work_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(net(), tmp_path, 1, **arguments)


def test_a_net_with_other_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="each of the 3 classes.*output_shape=\\(None, 4\\)"):
        train(net(classes=4), tmp_path, 1)
    named = from_arrays(np.zeros((3, 9, 9, 3)), np.arange(3), ["x", "y", "z"])
    with pytest.raises(ValueError, match="must have the classes \\('a', 'b', 'c'\\)"):
        train(net(), tmp_path, 1, validation=named)


# === Resuming ===


def test_another_training_in_the_same_folder_is_refused(tmp_path):
    train(net(), tmp_path, 1, change={"schedule": "cosine"})
    for arguments, message in (
        ({"seed": 5}, "another seed.*Received: 5"),
        ({"change": {"schedule": "cosine", "colour": 0.0}}, "holds a training with another recipe"),
        ({"source": pictures(25)}, "another examples. Allowed is.*Stored: 24. Received: 25"),
    ):
        with pytest.raises(ValueError, match=message):
            train(net(), tmp_path, 1, **({"change": {"schedule": "cosine"}} | arguments))
    with pytest.raises(ValueError, match="another recipe"):
        train(net(), tmp_path, 2, change={"schedule": "cosine"})  # it would have fallen slower


def test_a_plateau_run_can_be_extended(tmp_path):
    train(net(), tmp_path / "parts", 1)
    extended = net()
    history = train(extended, tmp_path / "parts", 2)
    straight = net()
    assert history == train(straight, tmp_path / "whole", 2)
    assert equal(extended, straight)


def test_a_finished_run_is_not_done_again(tmp_path):
    model = net()
    history = train(model, tmp_path, 1)
    other = net(seed=9)
    assert train(other, tmp_path, 1) == history
    assert equal(model, other)


KILLED = """
    import os, signal, sys
    import keras
    sys.path.insert(0, {tests!r})
    import test_training

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (2, 1):
                os.kill(os.getpid(), signal.SIGKILL)

    test_training.train(test_training.net(), {folder!r}, 4, callbacks=[Kill()], change={change!r})
"""


def python(script):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    """Dropout, annealing, momentum, shuffling, augmentation and colour: all must come back."""
    change = {"patience": 1}
    tests = str(Path(__file__).parent)
    script = KILLED.format(tests=tests, folder=str(tmp_path / "killed"), change=change)
    ended = python(script)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    resumed = net(seed=99)  # other initial weights and dropout states: the stored ones count
    history = train(resumed, tmp_path / "killed", 4, change=change)
    straight = net()
    assert train(straight, tmp_path / "straight", 4, change=change) == history
    assert history[-1]["learning_rate"] < 0.01  # annealing has happened
    assert equal(resumed, straight)


# === Two devices ===

MIRRORED = """
    import sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    sys.path.insert(0, {tests!r})
    import test_training as t
    from zfkeras.training import fit as training

    # Without dropout, whose noise is each replica's own.
    change = {{"schedule": "cosine", "max_filter_rms": 0.1}}
    source = t.pictures(21)  # validation ends with a batch of 1 in 4
    one = t.net(dropout=0.0)
    h1 = t.train(one, {folder!r} + "/one", 2, source=source, change=change)
    strategy = training.strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        two = t.net(dropout=0.0)
    h2 = t.train(two, {folder!r} + "/two", 2, source=source, change=change)
    for row1, row2 in zip(h1, h2, strict=True):
        for key in row1:
            np.testing.assert_allclose(row1[key], row2[key], rtol=1e-4, err_msg=key)
    for a, b in zip(t.weights(one), t.weights(two), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    try:
        t.train(two, {folder!r} + "/three", 1, source=source, change={{"batch_size": 7}})
    except ValueError as error:
        assert "multiples of 2. Received: batch_size=7" in str(error), error
    else:
        raise AssertionError("not refused")
    with strategy.scope():
        again = t.net(seed=5, dropout=0.0)
    assert t.train(again, {folder!r} + "/two", 2, source=source, change=change) == h2
    assert t.equal(again, two)
    print("equal")
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(tmp_path):
    ended = python(MIRRORED.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    assert ended.stdout.strip().endswith("equal"), ended.stdout + ended.stderr


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError, match="none, mirrored. Received: strategy='multi'"):
        training.strategy("multi")


def test_a_recipe_is_frozen():
    with pytest.raises(AttributeError):
        Recipe("x").epochs = 3


# === What strangers do to a run ===


def folder_of(root, counts, seed=0):
    """A folder with a directory for each class; what differs between classes is their grey."""
    rng = np.random.default_rng(seed)
    for number, count in enumerate(counts):
        for index in range(count):
            picture = rng.integers(0, 60, (20, 22, 3)) + 60 * number
            image.save(root / f"class{number}" / f"{index}.png", picture.astype(np.uint8))
    return root


def little(strides=1, filters=2):
    pixels = keras.Input((12, 14, 3))
    x = keras.layers.Conv2D(filters, 3, strides, activation="relu")(pixels)
    return keras.Model(pixels, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


def run(data, folder, model=None, **change):
    settings = recipe("krizhevsky", epochs=1, batch_size=4, schedule="cosine", **change)
    return training.train(model or little(), data, settings, folder, progress=0)


def test_relabelled_files_are_another_run(tmp_path):
    root = folder_of(tmp_path / "data", (4, 4, 4))
    run(image_folder(root), tmp_path / "run")
    assert run(image_folder(root), tmp_path / "run")  # the same goes on, and is done
    (root / "class0" / "3.png").rename(root / "class1" / "moved.png")
    with pytest.raises(ValueError, match="another files and labels"):
        run(image_folder(root), tmp_path / "run")


def test_a_folder_that_moved_is_the_same_run(tmp_path):
    root = folder_of(tmp_path / "data", (4, 4, 4))
    before = run(image_folder(root), tmp_path / "run")
    root.rename(tmp_path / "elsewhere")
    assert run(image_folder(tmp_path / "elsewhere"), tmp_path / "run") == before


def test_relabelled_arrays_are_another_run(tmp_path):
    images = np.zeros((8, 12, 14, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    run(from_arrays(images, labels, "abc"), tmp_path / "run")
    with pytest.raises(ValueError, match="another files and labels"):
        run(from_arrays(images, labels[::-1], "abc"), tmp_path / "run")


def test_pictures_in_the_keys_are_not_read_to_tell_a_run():
    """A TFDS of a million pictures would be read from end to end before the first step."""

    def read():
        raise AssertionError("the pictures were read")
        yield

    spec = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
    keys = tf.data.Dataset.from_generator(read, output_signature=spec)
    source = Source(keys, lambda *key: key, ("a", "b", "c"), 9, "tfds:some/train")
    assert source.keys_hold_pictures
    settings = recipe("krizhevsky", schedule="cosine")
    found = [fingerprint(little(), each, settings, seed=0) for each in
             (source, dataclasses.replace(source, name="tfds:some/validation"))]  # fmt: skip
    assert found[0]["files and labels"] != found[1]["files and labels"]


def test_keys_of_folders_and_arrays_are_light(tmp_path):
    arrays = from_arrays(np.zeros((3, 4, 5, 3), np.uint8), np.arange(3), "abc")
    folder = image_folder(folder_of(tmp_path / "data", (1, 1)))
    assert not arrays.keys_hold_pictures
    assert not folder.keys_hold_pictures
    (tmp_path / "data" / "class1" / "0.png").unlink()  # names and labels are known without it
    assert list(folder.labels_and_files()) == [(0, "class0/0.png"), (1, "class1/0.png")]


def test_another_net_of_as_many_parameters_is_another_run(tmp_path):
    data = image_folder(folder_of(tmp_path / "data", (4, 4, 4)))
    before = run(data, tmp_path / "run")
    assert run(data, tmp_path / "run", little()) == before  # its layers' names have counted on
    assert little(2).count_params() == little().count_params()
    with pytest.raises(ValueError, match="another architecture"):
        run(data, tmp_path / "run", little(2))


def test_a_state_of_an_older_version_goes_on(tmp_path):
    data = image_folder(folder_of(tmp_path / "data", (4, 4, 4)))
    before = run(data, tmp_path / "run")
    state = tmp_path / "run" / "state.npz"
    with np.load(state) as stored:
        arrays = dict(stored)
    notes = json.loads(str(arrays["notes"]))
    del notes["fingerprint"]["architecture"], notes["fingerprint"]["files and labels"]
    np.savez(state, **arrays | {"notes": np.array(json.dumps(notes))})
    assert run(data, tmp_path / "run") == before


@pytest.mark.parametrize("counts", [(6,), (0, 6)])
def test_a_single_class_is_refused(tmp_path, counts):
    root = folder_of(tmp_path / "data", counts)
    pixels = keras.Input((12, 14, 3))
    one = keras.Model(pixels, keras.layers.Dense(1)(keras.layers.Flatten()(pixels)))
    with pytest.raises(ValueError, match="nothing to tell apart.*two classes or more.*Received"):
        run(image_folder(root), tmp_path / "run", one)


def test_balanced_classes_count_alike(tmp_path):
    """The loss of a net that does not learn is the mean over classes, not over examples."""
    data = image_folder(folder_of(tmp_path / "data", (12, 3, 1)))
    pixels = keras.Input((12, 14, 3))
    fixed = keras.layers.Dense(3, kernel_initializer="zeros")
    model = keras.Model(pixels, fixed(keras.layers.GlobalAveragePooling2D()(pixels)))
    fixed.bias.assign([2.0, 0.0, -1.0])
    losses = -keras.ops.log_softmax(fixed.bias).numpy()
    plain = run(data, tmp_path / "plain", model, learning_rate=1e-12)[0]["loss"]
    assert plain == pytest.approx(np.average(losses, weights=(12, 3, 1)), rel=1e-4)
    found = run(data, tmp_path / "run", model, learning_rate=1e-12, class_weight="balanced")
    assert found[0]["loss"] == pytest.approx(losses.mean(), rel=1e-4)


def test_other_weights_of_classes_are_named():
    with pytest.raises(ValueError, match="Allowed: none, balanced. Received: class_weight='some'"):
        recipe("krizhevsky", class_weight="some")


def branched(skip):
    """Nets of the same layers, called on one another in other ways."""
    pixels = keras.Input((12, 14, 3))
    a = keras.layers.Conv2D(3, 3, padding="same")(pixels)
    b = keras.layers.Conv2D(3, 3, padding="same")(a)
    x = keras.layers.Add()([b, a if skip == "short" else pixels])
    return keras.Model(pixels, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


OTHER_NETS = {
    "strides": lambda: little(2),
    "activation": lambda: with_layers(keras.layers.Activation("tanh")),
    "dropout": lambda: with_layers(keras.layers.Dropout(0.1)),
    "a layer without weights": lambda: with_layers(keras.layers.MaxPooling2D(2)),
    "more filters": lambda: little(1, 3),
}


def with_layers(*layers):
    pixels = keras.Input((12, 14, 3))
    x = keras.layers.Conv2D(2, 3, 1, activation="relu")(pixels)
    for layer in layers:
        x = layer(x)
    return keras.Model(pixels, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_NETS)
def test_another_net_is_not_taken_as_done(name, tmp_path):
    data = image_folder(folder_of(tmp_path / "data", (4, 4, 4)))
    run(data, tmp_path / "run")
    with pytest.raises(ValueError, match="another (architecture|parameters)"):
        run(data, tmp_path / "run", OTHER_NETS[name]())


def test_the_same_layers_called_in_other_ways_are_another_net(tmp_path):
    data = image_folder(folder_of(tmp_path / "data", (4, 4, 4)))
    run(data, tmp_path / "run", branched("short"))
    run(data, tmp_path / "run", branched("short"))
    with pytest.raises(ValueError, match="another connections"):
        run(data, tmp_path / "run", branched("long"))


OTHER_DATA = {
    "a file more": lambda root: (root / "class0" / "new.png").write_bytes(
        (root / "class0" / "0.png").read_bytes()
    ),
    "a file less": lambda root: (root / "class2" / "0.png").unlink(),
    "a file of another name": lambda root: (root / "class0" / "0.png").rename(
        root / "class0" / "zero.png"
    ),
    "a file of another class": lambda root: (root / "class0" / "0.png").rename(
        root / "class1" / "moved.png"
    ),
    "a class of another name": lambda root: (root / "class0").rename(root / "first"),
    "a file in a folder of its own": lambda root: (
        (root / "class0" / "deep").mkdir(),
        (root / "class0" / "0.png").rename(root / "class0" / "deep" / "0.png"),
    ),
}
SAME_DATA = {
    "a note beside": lambda root: (root / "notes.txt").write_text("n"),
    "an empty directory": lambda root: (root / "later").mkdir(),
    "hidden files": lambda root: (root / "class0" / "._0.png").write_bytes(b"x"),
    "Jupyter's folder": lambda root: (root / ".ipynb_checkpoints").mkdir(),
    "a broken picture": lambda root: (root / "class0" / "broken.png").write_bytes(b"x"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data_are_another_run(name, tmp_path):
    root = folder_of(tmp_path / "data", (4, 4, 4))
    run(image_folder(root), tmp_path / "run")
    OTHER_DATA[name](root)
    with pytest.raises(ValueError, match="another (files and labels|classes|examples)"):
        run(image_folder(root), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_DATA)
def test_what_is_no_data_changes_no_run(name, tmp_path):
    root = folder_of(tmp_path / "data", (4, 4, 4))
    before = run(image_folder(root), tmp_path / "run")
    SAME_DATA[name](root)
    assert run(image_folder(root), tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(5, 5, 5), (9, 2, 4), (2, 1, 1), (12, 1, 2)])
def test_balanced_weights_of_any_counts(counts, tmp_path):
    data = image_folder(folder_of(tmp_path / "data", counts))
    found = run(data, tmp_path / "run", class_weight="balanced")
    assert np.isfinite(list(found[0].values())).all()

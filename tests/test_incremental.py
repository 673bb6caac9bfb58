"""Incremental occlusion against the plain way, which runs the net on every occluded image."""

import functools
import re
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings, strategies as st
from tqdm import tqdm

import zfkeras as zf
from zfkeras.analysis.incremental import coarse, partitions, run
from zfkeras.analysis.incremental.layers import stages
from zfkeras.analysis.incremental.operations import Operation
from zfkeras.analysis.incremental.planning import Lines
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.painting import centres, occlude
from zfkeras.graph.walking import walk
from zfkeras.regions.windows import Spans, Window, Windows

from networks import BODIES, conv, squeezenet_body, vgg_body

layers = keras.layers
CLASSES = 5


# === Nets ===


def finished(body, shape=(41, 30, 3)):
    """A net of pixels with a head, its weights such that occlusion has an effect."""
    keras.utils.set_random_seed(7)
    pixels = keras.Input(shape)
    x = layers.Flatten()(body(layers.Rescaling(1 / 64, offset=-2, name="scaled")(pixels)))
    return awake(keras.Model(pixels, layers.Dense(CLASSES, name="scores")(x)))


def awake(model):
    """Random biases, and batch statistics of real activations."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(0.1 * rng.standard_normal(weight.shape))
        if weight.path.endswith("gamma"):
            weight.assign(rng.uniform(0.7, 1.3, weight.shape))
    norms = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(some_images(model, 4, seed=1), training=True)
    return model


def some_images(model, count=1, seed=0):
    """Coarse colours and noise."""
    rng = np.random.default_rng(seed)
    height, width = model.input_shape[1:3]
    coarse_colours = rng.uniform(0, 255, (count, 5, 6, 3))
    smooth = tf.image.resize(coarse_colours, (height, width)).numpy()
    return np.clip(smooth + rng.normal(0, 10, smooth.shape), 0, 255).astype(np.float32)


def assert_equal(model, images, patch_size, strides, layer, *, batch_size=64, **options):
    """Both ways agree within rounding, measured against what occlusion does."""
    options = {"patch_size": patch_size, "strides": strides, "layer": layer} | options
    options["classes"] = list(range(model.output_shape[-1]))
    plain = zf.occlusion(model, images, softmax=False, **options)
    ours = zf.occlusion(
        model, images, softmax=False, method="incremental", batch_size=batch_size, **options
    )
    for name in ("probabilities", "activation"):
        expected, found = getattr(plain, name), getattr(ours, name)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        baseline = getattr(plain, f"baseline_{name}")[:, None, None]
        effect = np.abs(expected - baseline).max()
        largest = np.abs(expected).max()
        assert effect > 0.01 * largest, f"{name} does not react to the occluder"
        assert np.abs(found - expected).max() <= max(1e-4 * effect, 2e-6 * largest), name
    top = np.sort(plain.probabilities, axis=-1)
    clear = top[..., -1] - top[..., -2] > 1e-3
    np.testing.assert_array_equal(ours.predicted[clear], plain.predicted[clear])
    np.testing.assert_array_equal(ours.channel, plain.channel)
    return ours


# === Exactness ===


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_as_the_plain_way(body):
    model = finished(body)
    assert_equal(model, some_images(model, 2), (9, 12), (5, 7), "last")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ZFNet", {"alignment": "symmetric"}),
        ("ZFNet", {"alignment": "cuda-convnet"}),
        ("AlexNet", {"groups": 2}),
    ],
)
def test_the_papers_nets(name, arguments):
    keras.utils.set_random_seed(3)
    maker = getattr(zf, name)
    model = awake(maker(CLASSES, input_shape=(97, 121, 3), width=0.0625, **arguments))
    model.get_layer("logits").kernel.assign(model.get_layer("logits").kernel * 30)
    assert_equal(model, some_images(model), (20, 31), (13, 14), "conv5")


@pytest.mark.parametrize(
    ("patch_size", "strides"),
    [
        ((50, 70), 11),  # hides all of the image, always
        ((30, 40), 9),  # larger than the image
        ((60, 3), (17, 3)),  # larger in one direction
        (1, 1),  # every pixel
        (8, 8),
    ],
)
def test_any_occluder(patch_size, strides):
    model = finished(vgg_body, (21, 14, 3))
    assert_equal(model, some_images(model), patch_size, strides, "last", fill_value=[0, 300, -20])


def test_an_occluder_that_shows_a_picture():
    model = finished(vgg_body)
    assert_equal(model, some_images(model, 2), (9, 12), (5, 7), "last", fill_value="blur")


def test_colours_and_pictures_of_one_colour_are_the_same():
    model = finished(vgg_body)
    (image,) = some_images(model)
    sweep = Sweep(model, (41, 30), centres(41, 9, 5), centres(30, 9, 5), (9, 9))
    (task,), clean = sweep.tasks(), sweep.clean(image)
    colour = np.float32([9, 120, 255])
    first, same = (
        sweep.run(task, clean, fill)[0] for fill in (colour, np.broadcast_to(colour, image.shape))
    )
    np.testing.assert_array_equal(same, first)
    assert np.abs(sweep.run(task, clean, image[::-1])[0] - first).max() > 1e-2


@pytest.mark.parametrize("shape", [(17, 12, 3), (16, 31, 3), (18, 9, 3)])
def test_maps_down_to_one_pixel(shape):
    def body(x):
        x = layers.MaxPooling2D(3, 2, "same")(conv(x, 5, 4, 2))
        x = zf.MaxPoolWithArgmax2D(3, 2, "ceil")(conv(x, 6, 3, 2, "same"))
        return layers.Flatten()(conv(x, 6, 3, 3, name="last"))

    model = finished(body, shape)
    assert_equal(model, some_images(model), 5, 3, "last")


def test_batch_size_changes_nothing():
    model = finished(squeezenet_body)
    assert_equal(model, some_images(model), 9, 4, "last", batch_size=2)


def test_tasks_shrink_with_the_batch_size():
    model = finished(vgg_body)
    rows, columns = centres(41, 9, 2), centres(30, 9, 2)

    def places(batch_size):
        sweep = Sweep(model, (41, 30), rows, columns, (9, 9), batch_size=batch_size)
        tasks = sweep.tasks()
        seen = np.zeros(sweep.grid, int)
        for task in tasks:
            seen[np.ix_(*task.lines)] += 1
        assert (seen == 1).all()
        return max(len(task.lines.rows) * len(task.lines.columns) for task in tasks)

    assert 1 <= places(1) < places(4) <= 4 * places(1) + len(columns) < places(64)


def test_a_layer_alone_is_as_with_the_scores():
    model = finished(vgg_body)
    (image,) = some_images(model)
    rows, columns = centres(41, 9, 5), centres(30, 9, 5)
    fill = np.float32([128, 128, 128])
    runs = []
    for scores in (True, False):
        sweep = Sweep(model, (41, 30), rows, columns, (9, 9), "last", scores)
        for channel in (0, 3):
            (task,) = sweep.tasks()
            runs.append(sweep.run(task, sweep.clean(image, channel), fill))
    (first, a), (_, b), (none, c), (_, d) = runs
    assert first.shape == (len(rows), len(columns), CLASSES)
    assert none is None
    np.testing.assert_allclose(c, a, rtol=1e-5)
    np.testing.assert_allclose(d, b, rtol=1e-5)
    assert np.abs(a - b).max() > 1e-2


def test_a_dense_layer_and_the_pixels_themselves():
    model = finished(vgg_body)
    assert_equal(model, some_images(model), 9, 5, "scores")
    assert_equal(model, some_images(model), 9, 5, "scaled")


def test_half_precision_runs_whole():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((20, 24, 3)),
        layers.Rescaling(1 / 64, offset=-2),
        layers.Conv2D(6, 3, 2, activation="relu", name="last", dtype="mixed_float16"),
        layers.Flatten(),
        layers.Dense(CLASSES),
    ])  # fmt: skip
    images = some_images(model)
    plain, ours = (
        zf.occlusion(model, images, 7, 4, classes=0, softmax=False, method=method)
        for method in ("plain", "incremental")
    )
    np.testing.assert_allclose(ours.probabilities, plain.probabilities, atol=1e-2)
    graph = walk(model)
    kinds = {step.path: [s.operation for s in stages(step, graph.shapes)] for step in graph.steps}
    assert kinds["last"] == [Operation]
    assert all(Operation not in found for path, found in kinds.items() if "rescaling" in path)


def test_probabilities_are_a_softmax():
    model = finished(vgg_body)
    images = some_images(model)
    plain, ours = (
        zf.occlusion(model, images, 9, 5, method=method) for method in ("plain", "incremental")
    )
    np.testing.assert_allclose(ours.probabilities, plain.probabilities, atol=1e-5)
    clean = keras.ops.softmax(model.predict(images, verbose=0)).numpy()
    np.testing.assert_allclose(ours.baseline_probabilities, clean.max(1, keepdims=True), rtol=1e-5)
    # Where the occluder hides what is in its colour already, nothing changes: still a softmax.
    hidden = images.copy()
    top, left, size = int(ours.rows[2]) - 4, int(ours.columns[3]) - 4, 9
    hidden[:, top : top + size, left : left + size] = 128
    seen = keras.ops.softmax(model.predict(hidden, verbose=0)).numpy()
    np.testing.assert_allclose(ours.probabilities[0, 2, 3, 0], seen[0, clean.argmax()], rtol=1e-4)
    assert ours.activation is None


WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from(["same", "valid"]))
PLANS = st.lists(
    st.tuples(st.sampled_from(["conv", "max", "mean", "depthwise"]), WINDOWS),
    min_size=1,
    max_size=4,
)


@given(
    plan=PLANS,
    size=st.tuples(st.integers(6, 20), st.integers(6, 20)),
    patch=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    data=st.data(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_random_chains(plan, size, patch, data):
    strides = tuple(data.draw(st.integers(1, side)) for side in patch)
    keras.utils.set_random_seed(4)
    pixels = x = keras.Input((*size, 3))
    x = layers.Rescaling(1 / 64, offset=-2)(x)
    for kind, (window, stride, padding) in plan:
        if padding == "valid" and window > min(x.shape[1:3]):
            padding = "same"
        x = {
            "conv": lambda *a: layers.Conv2D(5, *a, activation="tanh"),
            "max": layers.MaxPooling2D,
            "mean": layers.AveragePooling2D,
            "depthwise": layers.DepthwiseConv2D,
        }[kind](window, stride, padding)(x)
    model = awake(keras.Model(pixels, layers.Dense(CLASSES)(layers.Flatten()(x))))
    images = some_images(model)
    options = {"patch_size": patch, "strides": strides, "classes": [0, 1, 2], "softmax": False}
    plain = zf.occlusion(model, images, **options).probabilities
    ours = zf.occlusion(model, images, method="incremental", **options).probabilities
    bound = 1e-4 * np.ptp(plain, axis=(1, 2)).max() + 2e-6 * np.abs(plain).max()
    assert np.abs(ours - plain).max() <= bound


# === What it spares ===


def test_only_the_boxes_are_computed():
    model = finished(vgg_body, (64, 60, 3))
    sweep = Sweep(model, (64, 60), centres(64, 8, 4), centres(60, 8, 4), (8, 8))
    kinds = [type(step.operation).__name__ for step in sweep.planner.locals.values()]
    assert kinds.count("Convolution") == 5
    rows, columns = next(iter(sweep.planner.areas.values()))
    assert rows.sizes.max() == columns.sizes.max() == 8
    for (a, b), name in zip(
        sweep.planner.areas.values(), "image rescaled conv".split(), strict=False
    ):
        assert a.sizes.max() <= 10, name
        assert b.sizes.max() <= 10, name


def test_spans_of_windows_against_loops():
    for size, stride, before, length, dilation in (
        (3, 2, 1, 6, 1),
        (5, 1, 0, 7, 2),
        (2, 3, 0, 4, 1),
    ):
        after = (length - 1) * stride + size - before - 11
        window = Window(size, stride, before, after, dilation)
        assert window.outputs(11) == length
        for start in range(11):
            for stop in range(start + 1, 12):
                changed = [
                    o
                    for o in range(length)
                    if any(start <= o * stride - before + t < stop for t in range(size))
                ]
                found = window.spans(Spans(np.array([start]), np.array([stop]), 11))
                if changed:
                    assert (found.start[0], found.stop[0]) == (changed[0], changed[-1] + 1)
                assert 0 <= found.start[0] < found.stop[0] <= length


def test_groups_trade_calls_for_work():
    window = Window(3, 1, 1, 1)
    spans = Spans(np.array([0, 2, 10, 20, 30]), np.array([3, 9, 20, 36, 40]), 40)
    output = window.spans(spans)
    few, many = (
        partitions.partition(Windows(window, window), (spans, spans), (output, output), weight)
        for weight in (1.0, 1e6)
    )
    assert [len(part.shapes) for part in few] == [1, 1]
    assert min(len(part.shapes) for part in many) > 2
    assert many[0].work < few[0].work


@pytest.mark.slow
def test_it_is_faster():
    """Most of the speed that docs/experiments.md reports (3.1 times), by CPU time."""
    model, size, step = zf.ZFNet(classes=100), 64, 16
    (image,), fill = some_images(model), np.float32([128, 128, 128])
    grid = centres(224, size, step)
    every = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    some = every[np.linspace(0, len(every) - 1, 64).astype(int)]
    sweep = Sweep(model, (224, 224), grid, grid, (size, size))
    tasks = sweep.tasks()

    @tf.function
    def plain(rows, columns):
        images = tf.repeat(image[None], len(some), 0)
        return model(occlude(images, rows, columns, (size, size), fill), training=False)

    def seconds(function):
        start = time.process_time()
        function()
        return time.process_time() - start

    def incremental():
        return [sweep.run(task, sweep.clean(image), fill) for task in tasks]

    ratios = [
        seconds(lambda: plain(*some.T)) * len(every) / len(some) / seconds(incremental)
        for _ in range(5)
    ]
    assert np.median(ratios[1:]) > 0.7 * 3.2


PEAK = """
import re
import keras
import numpy as np
from zfkeras.analysis.incremental import partitions
from zfkeras.analysis.incremental.layers import stages
from zfkeras.analysis.incremental.operations import Operation
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.painting import centres

def peak():  # in kB; a process' maxrss would begin with that of the process that started it
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

partitions.CALL = partitions.WEIGHT = 0  # as many groups as there may be
pixels = keras.Input((28, 28, 3))
x = keras.layers.Conv2D(512, 1)(pixels)
x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(512, 3, padding="same")(x))
sweep = Sweep(keras.Model(pixels, x), (28, 28), *[centres(28, 9, 1)] * 2, (9, 9), batch_size=1)
partitions = [p for p in sweep.planner.decided.values() if isinstance(p, tuple)]
print(max(len(rows.shapes) * len(columns.shapes) for rows, columns in partitions))
clean = sweep.clean(np.zeros((28, 28, 3), np.float32))
before = peak()
for task in sweep.tasks():
    sweep.run(task, clean, np.ones(3, np.float32))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_call_keeps_a_copy_of_the_weights():
    """The weights are 9.4 MB: copies for 25 calls would take 236 MB, and the plain need is 80."""
    run = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True)
    calls, kilobytes = map(int, run.stdout.split())
    assert calls == 25
    assert kilobytes < 200e3


def test_groups_that_no_box_of_a_task_is_in(monkeypatch):
    """Run at once and as a graph: TensorFlow's convolution of no boxes has another depth."""
    monkeypatch.setattr(partitions, "CALL", 0)  # as many groups as there may be
    monkeypatch.setattr(partitions, "WEIGHT", 0)
    keras.utils.set_random_seed(3)
    pixels = keras.Input((33, 30, 3))
    x = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(pixels)
    x = layers.Conv2D(48, 3, padding="same", activation="relu")(x)
    model = keras.Model(pixels, layers.Dense(CLASSES)(layers.Flatten()(x)))
    (image,) = some_images(model)
    sweep = Sweep(model, (33, 30), centres(33, 9, 3), centres(30, 9, 3), (9, 9), batch_size=1)
    tasks = sweep.tasks()
    assert any(0 in tensor.shape for tensor in tf.nest.flatten(tasks[0].plan.steps))
    expected = zf.occlusion(
        model, image[None], 9, 3, method="plain", softmax=False, classes=[0, 1, 2]
    )
    for _ in range(2):  # the second image is swept by a graph
        clean = sweep.clean(image)
        for task in tasks:
            found, _ = sweep.run(task, clean, np.full(3, 128, np.float32))
            at = np.ix_(*task.lines)
            right = expected.probabilities[0][at]
            np.testing.assert_allclose(found[..., :3], right, atol=1e-4 * np.ptp(right))


@pytest.mark.parametrize("batch_size", [64, 2])
def test_a_sweep_inside_another_graph(batch_size):
    """Traced with the image, the map and the colour unknown; in one task or in several."""
    model = finished(vgg_body)
    image, other = some_images(model, 2)
    sweep = Sweep(
        model, (41, 30), centres(41, 9, 5), centres(30, 9, 5), (9, 9), "last", True, batch_size
    )
    assert (len(sweep.tasks()) > 1) == (batch_size == 2)
    traced = tf.function(sweep.tensors, autograph=False)
    for photo, channel, grey in ((image, 0, 128.0), (other, 2, 7.0)):
        scores, sums = traced(tf.constant(photo), tf.constant(channel), tf.fill([1, 1, 3], grey))
        clean, fill = sweep.clean(photo, channel), np.full(3, grey, np.float32)
        for task in sweep.tasks():
            expected, total = sweep.run(task, clean, fill)
            at = np.ravel_multi_index(np.ix_(*task.lines), sweep.grid).ravel()
            np.testing.assert_allclose(
                scores.numpy()[at], expected.reshape(-1, CLASSES), rtol=1e-4, atol=1e-5
            )
            np.testing.assert_allclose(sums.numpy()[at], total.ravel(), rtol=1e-4)
    assert traced.experimental_get_tracing_count() == 1


# === Coarse to fine ===


def place_net(shape=(64, 60, 3)):
    """A net that looks at one place above all."""
    keras.utils.set_random_seed(9)
    pixels = keras.Input(shape)
    x = conv(layers.Rescaling(1 / 64, offset=-2)(pixels), 5, 3, 2, name="last")
    model = keras.Model(pixels, layers.Dense(CLASSES)(layers.Flatten()(x)))
    kernel = 0.002 * np.random.default_rng(1).standard_normal((32, 30, 5, CLASSES))
    kernel[20:24, 5:9] *= 100
    model.layers[-1].kernel.assign(kernel.reshape(-1, CLASSES))
    return model


def test_coarse_is_exact_where_it_looked_and_near_elsewhere():
    model = place_net()
    images = some_images(model, 2)
    options = {"patch_size": 9, "strides": 2, "layer": "last", "classes": [0, 1]}
    plain = zf.occlusion(model, images, **options)
    found = zf.occlusion(model, images, method="coarse", **options)
    seen = found.evaluated
    assert seen.shape == plain.predicted.shape
    assert 1 / 9 < seen.mean() < 0.8
    np.testing.assert_allclose(found.probabilities[seen], plain.probabilities[seen], atol=1e-5)
    np.testing.assert_allclose(found.activation[seen], plain.activation[seen], rtol=1e-4)
    np.testing.assert_array_equal(found.predicted[seen], plain.predicted[seen])
    assert seen[:, ::3, ::3].all()
    error = np.abs(found.probabilities - plain.probabilities).max(axis=(1, 2, 3))
    assert (found.error > 0).all()
    # Of calm places alone: where the map is steep, straight lines would be off by more.
    assert (found.error < np.ptp(plain.probabilities, axis=(1, 2)).max(axis=-1) / 3).all()
    assert (error < 4 * found.error).all()
    assert (error < np.ptp(plain.probabilities, axis=(1, 2)).max(axis=-1) / 4).all()


@pytest.mark.parametrize("method", ["incremental", "coarse"])
def test_progress_counts_places(method, capsys, monkeypatch):
    """Of all images, to the end, and moves within an image."""
    monkeypatch.setattr(run, "tqdm", functools.partial(tqdm, mininterval=0))
    model, images = place_net(), np.zeros((2, 64, 60, 3), np.float32)
    options = {"patch_size": 12, "strides": 4, "method": method, "batch_size": 1}
    found = zf.occlusion(model, images, progress=True, **options)
    bar = capsys.readouterr().err
    places = found.predicted.size
    counts = {int(text) for text in re.findall(rf"(\d+)/{places}", bar)}
    assert max(counts) == places
    assert len(counts) > 3


def test_coarse_says_nothing_of_error_where_it_looked_at_everything():
    model = finished(vgg_body)
    found = zf.occlusion(model, some_images(model), (41, 30), (40, 29), method="coarse")
    assert found.evaluated.shape == (1, 2, 2)
    assert found.evaluated.all()
    assert found.error.tolist() == [0.0]


@pytest.mark.parametrize("scale", [1, 1e-4, 1e4])
def test_coarse_goes_by_the_map_where_there_are_no_scores(scale):
    """By its shape: how large its totals are makes no difference."""
    model = place_net()
    last = model.get_layer("last")
    options = {"patch_size": 9, "strides": 2, "layer": "last", "scores": False, "top_others": 0}
    images = some_images(model, 2)
    images[:, 24:] = images[:, :1, :1]  # only the upper part is restless
    looked = zf.occlusion(model, images, method="coarse", **options).evaluated
    last.set_weights([scale * weight for weight in last.get_weights()])
    plain = zf.occlusion(model, images, **options).activation
    found = zf.occlusion(model, images, method="coarse", **options)
    np.testing.assert_array_equal(found.evaluated, looked)
    assert 1 / 9 < looked.mean() < 0.9
    np.testing.assert_allclose(found.activation[looked], plain[looked], rtol=1e-4)
    error = np.abs(found.activation - plain).max(axis=(1, 2))
    assert (found.error > 0).all()
    assert (error < 4 * found.error).all()


def test_interpolation_is_linear_between_lines():
    rows, columns = np.array([0, 4, 6]), np.array([0, 3])
    plane = rows[:, None] * 2.0 + columns[None] * 5.0
    found = coarse.interpolated(plane[..., None], rows, columns)[..., 0]
    np.testing.assert_allclose(found, np.arange(7)[:, None] * 2.0 + np.arange(4)[None] * 5.0)
    nearest = coarse.nearest(plane.astype(int), rows, columns)
    np.testing.assert_array_equal(nearest[:, 0], [0, 0, 0, 8, 8, 8, 12])


@given(st.lists(st.integers(0, 2**7 - 1), min_size=1, max_size=8))
@settings(deadline=None)
def test_rectangles_cover_every_place(bits):
    places = np.array([[b >> k & 1 for k in range(7)] for b in bits], bool)
    seen = np.zeros_like(places)
    for rows, columns in coarse.rectangles(places):
        seen[np.ix_(rows, columns)] = True
    assert seen[places].all()
    assert seen.any() == places.any()


def test_restless_cells_are_those_with_a_step():
    values = np.zeros((4, 5, 1))
    values[:, 3:] = 1
    found = coarse.restless_cells(values, 0.1, 0.02)
    np.testing.assert_array_equal(found, [[0, 0, 1, 0]] * 3)
    assert not coarse.restless_cells(values, 0.1, 2.0).any()
    places = coarse.places_of(found, np.array([0, 2, 4, 5]), np.array([0, 2, 4, 6, 7]))
    np.testing.assert_array_equal(places, [[0, 0, 0, 0, 1, 1, 1, 0]] * 6)


def test_sub_grids_need_no_new_trace():
    model = finished(vgg_body)
    rows, columns = centres(41, 9, 5), centres(30, 9, 5)
    sweep = Sweep(model, (41, 30), rows, columns, (9, 9))
    clean, fill = sweep.clean(some_images(model)[0]), np.float32([9, 9, 9])
    (every,) = sweep.tasks()
    (some,) = sweep.tasks(Lines(np.array([1, 4]), np.array([0, 2, 5])))
    expected, _ = sweep.run(every, clean, fill)
    found, _ = sweep.run(some, clean, fill)
    np.testing.assert_allclose(found, expected[[1, 4]][:, [0, 2, 5]], rtol=1e-4, atol=1e-5)

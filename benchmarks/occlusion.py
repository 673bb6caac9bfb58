"""How much faster is exact incremental occlusion than running the net on every occluded image?

    python benchmarks/occlusion.py [CASE ...] [--rounds 3] [--places 96]

Both ways run interleaved in one process; the figures are medians of ratios of CPU time (which
neighbours on the machine hardly change) and of wall time. The plain way is one traced function on
batches of 64 (32 for VGG16), timed on evenly spread places and scaled to all. The incremental way
is timed whole but for planning and tracing, which is shown apart: they are done once a model.
So it is the engine that is timed; `run.py` times `zf.occlusion` as a user calls it. With a layer
it is what `zf.occlusion(..., layer=layer, scores=False)` runs, for both ways.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import zfkeras as zf
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.painting import centres, occlude
from zfkeras.graph.walking import walk

SIZE, FILL = 224, np.float32([128, 128, 128])
CASES = {  # model, occluder, stride, layer (then its strongest map alone), bar
    "zfnet-32-8": ("zfnet", 32, 8, None, 5.0),
    "zfnet-64-16": ("zfnet", 64, 16, None, 3.2),
    "zfnet-conv5-32-8": ("zfnet", 32, 8, "conv5", 8.5),
    "vgg16-32-8": ("vgg16", 32, 8, None, 6.5),
    "vgg16-64-16": ("vgg16", 64, 16, None, 4.0),
    "resnet50-32-16": ("resnet50", 32, 16, None, 1.7),
    "mobilenetv2-32-16": ("mobilenetv2", 32, 16, None, 2.0),
}


def build(name):
    """A net with random weights that occlusion has an effect on."""
    keras.utils.set_random_seed(1)
    if name == "zfnet":
        model = zf.ZFNet()
    else:
        maker = {"vgg16": "VGG16", "resnet50": "ResNet50", "mobilenetv2": "MobileNetV2"}[name]
        model = getattr(keras.applications, maker)(weights=None, classifier_activation=None)
    rng = np.random.default_rng(2)
    images = np.stack([photograph(rng) for _ in range(4)])
    for weight in model.weights:
        if weight.path.endswith("bias"):
            weight.assign(0.05 * rng.standard_normal(weight.shape))
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:  # its statistics become those of real activations
        norm.beta.assign(0.2 * rng.standard_normal(norm.beta.shape))
        norm.momentum = 0.0
    if norms:
        model(images, training=True)
    return model, images[0]


def photograph(rng):
    """Smooth colours and a little noise, 0..255."""
    coarse = rng.uniform(0, 255, (1, 28, 28, 3))
    smooth = tf.image.resize(coarse, (SIZE, SIZE), "bicubic").numpy()[0]
    return np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype(np.float32)


def plain_way(model, image, size, layer, channel, batch):
    """A function from places (n, 2) to scores (n, classes), or the map's sums (n, 1)."""
    graph = walk(model)
    wanted = graph.steps[-1].outputs[0] if layer is None else graph.find(layer)
    steps = graph.steps_to(wanted)

    @tf.function(reduce_retracing=True)
    def look(rows, columns):
        images = tf.repeat(tf.constant(image)[None], tf.shape(rows)[0], 0)
        hidden = occlude(images, rows, columns, (size, size), FILL)
        hidden = tf.ensure_shape(hidden, [None, SIZE, SIZE, 3])
        made = graph.run(hidden, steps)[wanted]
        return made if layer is None else tf.reduce_sum(made[..., channel], [1, 2])[:, None]

    def run(places):
        parts = [places[i : i + batch] for i in range(0, len(places), batch)]
        return np.concatenate([look(*map(tf.constant, part.T)).numpy() for part in parts])

    return run


def timed(function):
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def measure(case, rounds, count):
    name, size, stride, layer, bar = CASES[case]
    model, image = build(name)
    grid = centres(SIZE, size, stride)
    places = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    channel = 0
    if layer is not None:
        graph = walk(model)
        channel = int(np.sum(graph.run(image[None])[graph.find(layer)], (0, 1, 2)).argmax())
    batch = 32 if name == "vgg16" else 64
    count = min(len(places), count // 3 if name == "vgg16" else count)
    subset = np.unique(np.linspace(0, len(places) - 1, count).astype(int))
    plain = plain_way(model, image, size, layer, channel, batch)
    plain(places[subset[:batch]])
    if len(subset) % batch:
        plain(places[subset[: len(subset) % batch]])

    def prepare():
        sweep = Sweep(model, (SIZE, SIZE), grid, grid, (size, size), layer, layer is None)
        return sweep, sweep.tasks()

    (sweep, tasks), planning, _ = timed(prepare)

    def incremental():
        clean = sweep.clean(image, channel)
        found = [sweep.run(task, clean, FILL) for task in tasks]
        parts = [scores if layer is None else sums[..., None] for scores, sums in found]
        return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])

    found, first, _ = timed(incremental)
    ratios = []
    for _ in range(rounds):
        expected, wall, cpu = timed(lambda: plain(places[subset]))
        found, own_wall, own_cpu = timed(incremental)
        scale = len(places) / len(subset)
        ratios.append((scale * cpu / own_cpu, scale * wall / own_wall, own_cpu, own_wall))
    cpu_ratio, wall_ratio, own_cpu, own_wall = (
        statistics.median(r) for r in zip(*ratios, strict=True)
    )
    error = np.abs(found[subset] - expected).max() / np.ptp(expected, axis=0).max()
    answers = [x if layer else tf.nn.softmax(x).numpy() for x in (found[subset], expected)]
    largest = np.abs(answers[0] - answers[1]).max() / answers[1].max()
    print(
        f"{case:18} {len(places)} places: cpu {cpu_ratio:.2f}x (bar {bar}) wall {wall_ratio:.2f}x;"
        f" own {own_cpu:.2f} cpu-s {own_wall:.2f} s; planning {planning:.1f} s, first run"
        f" {first:.1f} s; error / largest {largest:.1e}, / effect {error:.1e}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--places", type=int, default=128, help="how many the plain way is timed on"
    )
    arguments = parser.parse_args()
    for case in arguments.cases or CASES:
        keras.backend.clear_session()
        measure(case, arguments.rounds, arguments.places)


if __name__ == "__main__":
    main()

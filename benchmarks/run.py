"""What a user waits for: the first call in a fresh process, and later ones, beside TensorFlow.

    python benchmarks/run.py [CASE ...] [--quick] [--runs 2] [--output table.md]

Each case is a process of its own on one thread. It times, in CPU seconds (which neighbours on the
machine hardly change), the first call and then later calls in turns with what they are measured
against: the same task as one would write it by hand in TensorFlow, or the forward passes that it
needs. The table has the medians of all runs as multiples of that, beside the goals.

To add a case, write a function that returns a `Case` and name it in CASES.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclass(frozen=True)
class Case:
    """A task and what it is measured against.

    Attributes:
        call: The task, as a user calls it.
        beside: What it is measured against; None: nothing, the figures are seconds.
        share: The part of the task that `beside` does.
        goals: For the first call and for later ones; None: there is none.
        against: What `beside` is.
        between: What happens after the first call, untimed.
    """

    call: Callable[[], object]
    beside: Callable[[], object] | None
    share: float
    goals: tuple[float | None, float | None]
    against: str
    between: Callable[[], object] = lambda: None


# === Nets and pictures ===


def net(name):
    """A net with random weights, or the bundled one."""
    import keras

    import zfkeras as zf

    keras.utils.set_random_seed(0)
    if name == "bundled":
        return zf.ZFNet(weights="imagenette")
    if name == "ZFNet":
        return zf.ZFNet()
    return getattr(keras.applications, name)(weights=None)


def photographs(model, count=1):
    """Smooth colours and a little noise, 0..255."""
    import numpy as np
    import tensorflow as tf

    rng, (_, height, width, _) = np.random.default_rng(1), model.input_shape
    coarse = rng.uniform(0, 255, (count, 28, 28, 3))
    smooth = tf.image.resize(coarse, (height, width), "bicubic").numpy()
    return np.clip(smooth + rng.normal(0, 5, smooth.shape), 0, 255).astype("float32")


def forward(model):
    """The model as a traced function of a batch, as one would write it."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *model.input_shape[1:]))
    return tf.function(lambda x: model(x, training=False), [spec], autograph=False)


# === Occlusion ===


def occlusion(name, patch, stride, first, later, most=64, batch=64, method="auto"):
    """One image; by hand: squares painted with NumPy, batches of `batch`, the same grid.

    The loop by hand runs on `most` of the places, spread over all.
    """
    import numpy as np

    import zfkeras as zf

    model = net(name)
    (image,) = photographs(model)
    run, side = forward(model), image.shape[0]
    corners = range(0, side - patch + 1, stride)
    every = [(top, left) for top in corners for left in corners]
    some = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, most).astype(int))]

    def by_hand():
        answers = []
        for start in range(0, len(some), batch):
            places = some[start : start + batch]
            hidden = np.repeat(image[None], len(places), axis=0)
            for picture, (top, left) in zip(hidden, places, strict=True):
                picture[top : top + patch, left : left + patch] = 128
            answers.append(run(hidden).numpy())
        return np.concatenate(answers)

    def call():
        options = {"border": "inside", "method": method, "batch_size": batch}
        return zf.occlusion(model, image[None], patch, stride, **options)

    against = f"by hand, {len(every)} places"
    return Case(call, by_hand, len(some) / len(every), (first, later), against)


# === Projections ===


def whole_maps(model, layer):
    """Up to a layer and, from its strongest unit, down again on whole maps, as one graph.

    That is ours, too: it is no slower than what we could write by hand.
    """
    import tensorflow as tf

    import zfkeras as zf

    deconv = zf.DeconvNet(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))])
    def run(images):
        every = tf.fill([tf.shape(images)[0]], -1)
        return deconv.project_tensors(images, layer, every)[0]

    return run


def projection(images, units, goal, warm=64):
    """Units of conv5 of ZFNet-224; beside: whole maps in one graph, once for each unit."""
    import numpy as np

    import zfkeras as zf

    model = net("ZFNet")
    some = photographs(model, images)
    run, deconv = whole_maps(model, "conv5"), zf.DeconvNet(model)
    each, many = np.repeat(some, units, axis=0), np.repeat(some[:1], warm, axis=0)
    return Case(
        lambda: deconv.project(some, "conv5", units),
        lambda: run(each),
        1.0,
        (None, goal),
        "whole maps in one graph",
        lambda: deconv.project(many, "conv5", 1),
    )


# === Analyses: the forward passes that they need ===


def forwards(model, images, count):
    """The net on as many images, in batches of 32."""
    import numpy as np

    run, batch = forward(model), np.resize(images, (32, *images.shape[1:]))

    def task():
        for start in range(0, count, 32):
            run(batch[: min(32, count - start)]).numpy()

    return task


def invariance(images, goal):
    """Three layers over nine turns; the image goes up with each batch of its turns."""
    import zfkeras as zf

    model = net("ZFNet")
    some = photographs(model, images)
    turns = {"rotation": list(range(0, 360, 40))}
    return Case(
        lambda: zf.invariance(model, some, ["conv1", "conv5", "fc7"], transforms=turns),
        forwards(model, some, images * (9 + 1)),
        1.0,
        (None, goal),
        f"{images * 10} forward passes",
    )


def faithfulness(images, goal):
    """Deletion and insertion of a random map in 12 steps."""
    import zfkeras as zf

    model = net("ZFNet")
    some = photographs(model, images)
    return Case(
        lambda: zf.faithfulness(model, some, ["random"], steps=12, randomize=False),
        forwards(model, some, images * (2 * 13 + 1)),
        1.0,
        (None, goal),
        f"{images * 27} forward passes",
    )


def top_activations(images, goal):
    """All convolutions, beside the net up to the last of them."""
    import keras

    import zfkeras as zf

    model = net("ZFNet")
    some = photographs(model, images)
    trunk = keras.Model(model.inputs, model.get_layer("conv5").output)
    return Case(
        lambda: zf.top_activations(model, some),
        forwards(trunk, some, images),
        1.0,
        (None, goal),
        f"{images} passes up to conv5",
    )


# === Making things ===


def new_deconvnet(name, layer, goal):
    """A further object for a net that has been looked at."""
    import zfkeras as zf

    model = net(name)
    image = photographs(model)
    zf.DeconvNet(model).project(image, layer)
    return Case(
        lambda: zf.DeconvNet(model).project(image, layer), None, 1.0, (goal, goal), "seconds"
    )


def export():
    """The bundled net."""
    import zfkeras as zf

    model = net("bundled")

    def call():
        with tempfile.TemporaryDirectory() as folder:
            zf.export(model, folder)

    return Case(call, None, 1.0, (6.0, None), "seconds")


CASES = {
    "occlusion ZFNet-224 32/8": lambda: occlusion("ZFNet", 32, 8, 0.26, 0.175),
    "occlusion ZFNet-224 64/16": lambda: occlusion("ZFNet", 64, 16, 0.55, 0.30),
    "occlusion VGG16 64/16": lambda: occlusion("VGG16", 64, 16, 0.33, 0.24, most=32, batch=32),
    "occlusion ResNet50V2 64/32": lambda: occlusion("ResNet50V2", 64, 32, None, 1.0, most=36),
    "occlusion bundled net 26/8": lambda: occlusion("bundled", 26, 8, None, 1.0, most=196),
    "plain occlusion, bundled net 26/8": lambda: occlusion(
        "bundled", 26, 8, None, 1.08, most=196, method="plain"
    ),
    "projection of one unit, batch 1": lambda: projection(1, 1, 0.70),
    "projection of one unit, batch 16": lambda: projection(16, 1, 0.60),
    "nine units of one image": lambda: projection(1, 9, 0.38),
    "invariance, 8 images": lambda: invariance(8, 1.3),
    "invariance, 1 image": lambda: invariance(1, 2.0),
    "faithfulness, 8 images": lambda: faithfulness(8, 1.3),
    "faithfulness, 1 image": lambda: faithfulness(1, 2.0),
    "top activations, 256 images": lambda: top_activations(256, 1.06),
    "new DeconvNet, ResNet50V2": lambda: new_deconvnet("ResNet50V2", "conv4_block1_out", 1.2),
    "new DeconvNet, ZFNet": lambda: new_deconvnet("ZFNet", "conv5", 0.2),
    "export, bundled net": export,
}
QUICK = (
    "occlusion ZFNet-224 64/16",
    "occlusion bundled net 26/8",
    "new DeconvNet, ZFNet",
    "export, bundled net",
)


# === Measuring ===


def cpu(task):
    """CPU seconds of a task."""
    start = time.process_time()
    task()
    return time.process_time() - start


def measure(name, rounds):
    """One case in this process: seconds of the first call, of later calls, of what is beside."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    case = CASES[name]()
    beside = case.beside
    if beside is not None:
        beside()
    first, seconds = cpu(case.call), {"call": [], "beside": []}
    case.between()
    for _ in range(rounds if case.goals[1] is not None else 0):
        seconds["call"].append(cpu(case.call))
        if beside is not None:
            seconds["beside"].append(cpu(beside) / case.share)
    if beside is not None and not seconds["beside"]:
        seconds["beside"].append(cpu(beside) / case.share)
    return {"first": first, **seconds, "goals": case.goals, "against": case.against}


def in_a_process(name, rounds):
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--measure", name, "--rounds", str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def row(name, found):
    """A line of the table from the runs of a case."""
    units = [statistics.median(run["beside"]) if run["beside"] else 1.0 for run in found]
    first = [run["first"] / unit for run, unit in zip(found, units, strict=True)]
    later = [
        statistics.median(run["call"]) / u
        for run, u in zip(found, units, strict=True)
        if run["call"]
    ]
    cells = [shown(*pair) for pair in zip((first, later), found[0]["goals"], strict=True)]
    unit = f"{statistics.median(units):.2f} s" if found[0]["beside"] else ""
    return f"| {name} | {cells[0]} | {cells[1]} | {found[0]['against']} | {unit} |"


def shown(figures, goal):
    """The median of some figures, their range if they differ, and the goal."""
    if not figures:
        return ""
    text = f"{statistics.median(figures):.3g}"
    if f"{min(figures):.2g}" != f"{max(figures):.2g}":
        text += f" ({min(figures):.2g}-{max(figures):.2g})"
    return text if goal is None else f"{text}, goal {goal:g}"


HEAD = """| case | first call | later calls | measured against | that is, CPU s |
|---|---|---|---|---|"""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="some cases, once")
    parser.add_argument("--runs", type=int, default=2, help="processes for each case")
    parser.add_argument("--rounds", type=int, default=3, help="later calls in each")
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    parser.add_argument("--measure", metavar="CASE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.rounds)))
        return
    names = arguments.cases or (QUICK if arguments.quick else tuple(CASES))
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        parser.error(f"no such case. Expected of: {', '.join(CASES)}. Received: {unknown[0]}")
    runs = 1 if arguments.quick else arguments.runs
    lines = [HEAD]
    print(HEAD)
    for name in names:
        lines.append(row(name, [in_a_process(name, arguments.rounds) for _ in range(runs)]))
        print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

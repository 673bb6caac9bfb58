"""What projecting costs, in multiples of the forward pass: ZFNet-224, random weights.

    python benchmarks/projection.py

Ratios of process CPU time, medians of interleaved runs, so that neighbours on the machine don't
matter. Bars: one conv5 map each for a batch of 16 at most 2.2 forward passes, its own included;
all 256 whole conv5 maps of one image at least 1.9 times cheaper than 256 calls.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import zfkeras as zf

LAYER, BATCH = "conv5", 16


def build():
    keras.utils.set_random_seed(0)
    model = zf.ZFNet(classes=10, fc_units=16)
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, 224, 224, 3)).astype("float32")
    return model, images


def forward_of(model):
    """The forward pass to the layer as one TensorFlow graph: a strong baseline."""
    part = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
    images = tf.TensorSpec((None, 224, 224, 3))
    return tf.function(lambda x: part(x), input_signature=[images], autograph=False)


def cpu_seconds(tasks, repeats):
    """Median CPU seconds of each task, run in turns after one round of warming up."""
    seconds = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: np.array(found) for name, found in seconds.items()}


def strongest_units(repeats=7):
    """Forward pass and projection of the strongest conv5 unit of each image, over forward pass."""
    model, images = build()
    forward, deconv = forward_of(model), zf.DeconvNet(model)
    tensor = tf.constant(images)
    tasks = {
        "forward": lambda: forward(tensor).numpy(),
        "project": lambda: deconv.project(images, LAYER),
    }
    seconds = cpu_seconds(tasks, repeats)
    return float(np.median(seconds["project"] / seconds["forward"]))


def whole_maps(repeats=3, sample=32):
    """256 calls of one map each (a sample of them, scaled) over one call for all 256 maps."""
    model, images = build()
    deconv, image = zf.DeconvNet(model), images[:1]
    some = range(0, 256, 256 // sample)
    tasks = {
        "calls": lambda: [deconv.project(image, LAYER, [c], position="all") for c in some],
        "shared": lambda: deconv.project(image, LAYER, None, position="all"),
    }
    seconds = cpu_seconds(tasks, repeats)
    return float(np.median(seconds["calls"] * 256 / sample / seconds["shared"]))


if __name__ == "__main__":
    print(f"one unit each for {BATCH} images: {strongest_units():.2f} forward passes (<= 2.2)")
    print(f"256 whole maps of one image: {whole_maps():.2f} times cheaper than calls (>= 1.9)")

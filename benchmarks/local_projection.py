"""How much faster `project_units` is than taking each (image, map) up and down by itself.

    python benchmarks/local_projection.py [CASE ...]

The plain way is `DeconvNet.project_tensors` on batches of 16 (VGG16: 8), timed on two batches and
scaled. Ratios of process CPU time, medians of interleaved runs, so that neighbours on the machine
don't matter; random weights. All the work of both ways is counted but the tracing of their graphs,
which happens once.
"""

import os
import sys
import time
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import zfkeras as zf


class Case(NamedTuple):
    """A layer, how many images and maps, the plain way's batch, and the bar for the speed-up."""

    net: str
    layer: str
    images: int
    maps: int
    batch: int
    bar: float


CASES = {
    "conv3": Case("zfnet", "conv3", 9, 256, 16, 17),
    "conv4": Case("zfnet", "conv4", 9, 256, 16, 12),
    "conv5": Case("zfnet", "conv5", 9, 256, 16, 8.5),
    "one-image": Case("zfnet", "conv5", 1, 256, 16, 9),
    "vgg-block4": Case("vgg16", "block4_conv3", 4, 32, 8, 15),
    "vgg-block5": Case("vgg16", "block5_conv3", 4, 32, 8, 4),
}


def build(net):
    """The net, its weights random."""
    keras.utils.set_random_seed(0)
    if net == "zfnet":
        return zf.ZFNet(classes=10, fc_units=16)
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))


def pictures(count):
    """Smooth random images with some noise on top."""
    rng = np.random.default_rng(0)
    smooth = tf.image.resize(rng.normal(0, 60, (count, 40, 40, 3)), (224, 224), "bicubic")
    return np.clip(smooth + rng.normal(128, 15, (count, 224, 224, 3)), 0, 255).astype("float32")


def strongest_units(model, images, case):
    """The strongest unit of each map of each image, (U, 4)."""
    maps = keras.Model(model.inputs[0], model.get_layer(case.layer).output)(images).numpy()
    count, height, width, _ = maps.shape
    flat = maps[..., : case.maps].reshape(count, height * width, case.maps).argmax(1)
    image, channel = np.indices(flat.shape)
    return np.stack([image, flat // width, flat % width, channel], 2).reshape(-1, 4)


def tasks_of(case):
    """The two ways, and how many units each projects."""
    model, images = build(case.net), pictures(case.images)
    deconv, units = zf.DeconvNet(model), strongest_units(model, images, case)
    some = np.random.default_rng(1).permutation(len(units))[: 2 * case.batch]
    specs = [tf.TensorSpec((None, 224, 224, 3)), tf.TensorSpec((None,), tf.int32)]
    plain = tf.function(
        lambda images, channels: deconv.project_tensors(images, case.layer, channels)[0],
        input_signature=specs,
        autograph=False,
    )

    def plainly():
        for part in np.split(units[some], 2):
            plain(images[part[:, 0]], part[:, 3].astype("int32")).numpy()

    def locally():
        zf.project_units(deconv, images, case.layer, units)

    return (plainly, len(some)), (locally, len(units))


def speed_up(case, repeats=9):
    """CPU time for each unit, plain over local."""
    (plainly, few), (locally, many) = tasks_of(case)
    ratios = []
    for turn in range(repeats + 2):
        seconds = []
        for task in (plainly, locally):
            start = time.process_time()
            task()
            seconds.append(time.process_time() - start)
        if turn > 1:  # the first are for tracing and what TensorFlow learns of its own speed
            ratios.append(seconds[0] / few / (seconds[1] / many))
    return float(np.median(ratios))


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        print(f"{name}: {speed_up(case):.1f}x (bar {case.bar}x)", flush=True)

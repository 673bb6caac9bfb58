"""The price of our layers in training: a step of ZFNet against the same net of stock layers.

Both nets have the same weights; they take turns, and what counts is the CPU seconds that each
turn takes (other programs on the machine disturb those least). Bar: within 5 %.

    python benchmarks/training_step.py [--image-size 224] [--batch-size 32] [--rounds 7]
"""

import argparse
import json
import os
import resource
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from zfkeras.models.zfnet import ZFNet


def stock(image_size: int) -> keras.Model:
    """ZFNet of Keras' own layers, and `tf.nn.lrn`, which Keras lacks; no filter constraint."""
    layers = keras.layers
    x = inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(1.0, offset=-128.0)(x)
    x = layers.ZeroPadding2D(1)(x)
    for filters, size, strides, padding, stages in (
        (96, 7, 2, "valid", "pn"), (256, 5, 2, "valid", "pn"),
        (384, 3, 1, "same", ""), (384, 3, 1, "same", ""), (256, 3, 1, "same", "p"),
    ):  # fmt: skip
        x = layers.Conv2D(filters, size, strides, padding, activation="relu")(x)
        if "p" in stages:
            x = layers.MaxPooling2D(3, 2, "valid" if filters == 256 and size == 3 else "same")(x)
        if "n" in stages:
            x = layers.Lambda(lambda v: tf.nn.lrn(v, 2, 2.0, 1e-4, 0.75))(x)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dropout(0.5)(layers.Dense(4096, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(1000)(x))


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def stepper(model: keras.Model, images: np.ndarray, labels: np.ndarray):
    """A function that does one training step and returns its CPU seconds."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), loss)
    model.train_on_batch(images, labels)

    def step() -> float:
        start = cpu_seconds()
        model.train_on_batch(images, labels)
        return cpu_seconds() - start

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (chosen.batch_size, chosen.image_size, chosen.image_size, 3)
    images = rng.integers(0, 256, shape).astype("float32")
    labels = rng.integers(0, 1000, chosen.batch_size)
    nets = {
        "zfkeras": ZFNet(input_shape=shape[1:]),
        "zfkeras, no filter limit": ZFNet(input_shape=shape[1:], max_filter_rms=None),
        "stock": stock(chosen.image_size),
    }
    counts = {model.count_params() - (np.prod(shape[1:]) if name != "stock" else 0)
              for name, model in nets.items()}  # fmt: skip
    assert len(counts) == 1, f"not the same net: {counts}"
    steps = {name: stepper(model, images, labels) for name, model in nets.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(chosen.rounds):
        for name, step in steps.items():
            seconds[name].append(step())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, seconds["stock"], strict=True))
        for name, values in seconds.items()
    }
    print(json.dumps({"cpu_seconds_a_step": medians, "ratio_to_stock": ratios}, indent=1))


if __name__ == "__main__":
    main()

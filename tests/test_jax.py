"""The nets train on Keras' JAX backend, without TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules["tensorflow"] = None  # as on a machine that lacks it
import keras, numpy as np
import zfkeras as zf

keras.utils.set_random_seed(0)
images = np.random.default_rng(0).uniform(0, 255, size=(16, 48, 56, 3))
for make in (zf.ZFNet, zf.AlexNet):
    model = make(classes=4, input_shape=(48, 56, 3), width=0.05, fc_units=8)
    model.get_layer("mean").adapt(images)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), loss)
    losses = model.fit(images, np.arange(16) % 4, batch_size=5, epochs=9, verbose=0).history["loss"]
    print(keras.backend.backend(), losses[-1] < losses[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_nets_train_on_jax_without_tensorflow():
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["jax", "True"] * 2, result.stderr

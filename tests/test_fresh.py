"""What is kept of a model never shows: a second call sees new weights, activations and sizes."""

import keras
import numpy as np
import pytest
from tiers import first_by_default

import zfkeras as zf
from zfkeras.analysis.explanations import explanations
from zfkeras.graph.predictor import Predictor

L = keras.layers
HEIGHT, WIDTH, CLASSES = 20, 26, 4
PARTS = {"nose": [[4, 5], [9, 6], [12, 15]], "ear": [[15, 5], [3, 16], [5, 20]]}


def net():
    keras.utils.set_random_seed(5)
    layers = [
        L.Rescaling(1 / 64, offset=-2),
        L.Conv2D(5, 3, 2, activation="relu", name="c1"),
        L.Conv2D(6, 3, activation="relu", name="c2"),
        L.Flatten(),
        L.Dense(CLASSES, name="head"),
    ]
    return keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), *layers])


def explained(method):
    return lambda model, images: explanations(model, images, method, classes=1).maps


ANALYSES = {
    "predictor": lambda model, images: Predictor.of(model, ["c2"])(images).layers[0],
    "occlusion": lambda model, images: zf.occlusion(model, images, 7, 5).probabilities,
    "incremental": lambda model, images: (
        zf.occlusion(model, images, 7, 5, method="incremental").probabilities
    ),
    "invariance": lambda model, images: (
        zf.invariance(model, images, "c2", transforms={"rotation": [0, 30]}).distances
    ),
    "correspondence": lambda model, images: (
        zf.correspondence(model, images, PARTS, "c2", 5, draws=2).distances
    ),
    "deletion": lambda model, images: (
        zf.faithfulness(model, images, ["guided"], steps=4, randomize=False).deletion
    ),
    "randomisation": lambda model, images: (
        zf.faithfulness(model, images, ["guided"], classes=1, steps=2).cascading
    ),
    "projection": lambda model, images: zf.DeconvNet(model).project(images, "c2").pixels,
    **{name: explained(name) for name in ("deconvnet", "deconvnet_logit", "gradient_x_input")},
}


def flip_weights(model):
    model.set_weights([-weight for weight in model.get_weights()])


def another_activation(model):
    model.get_layer("c1").activation = keras.activations.linear


@pytest.mark.parametrize("change", first_by_default([flip_weights, another_activation]))
@pytest.mark.parametrize("name", ANALYSES)
def test_a_second_call_sees_the_model_as_it_is(name, change, rng):
    """As a model does that was never looked at."""
    analyse, images = ANALYSES[name], rng.uniform(0, 255, (3, HEIGHT, WIDTH, 3)).astype("float32")
    model, fresh = net(), net()
    before = analyse(model, images)
    again = analyse(model, images)
    np.testing.assert_allclose(again, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    change(model)
    change(fresh)
    after, expected = analyse(model, images), analyse(fresh, images)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()


@pytest.mark.parametrize("name", sorted({*ANALYSES} - {"correspondence", "randomisation"}))
def test_nothing_is_traced_again_and_again(name, caplog, rng):
    model, images = net(), rng.uniform(0, 255, (3, HEIGHT, WIDTH, 3)).astype("float32")
    for count in (1, 3, 2, 1, 2, 3, 1, 3):
        ANALYSES[name](model, images[:count])
    assert "retracing" not in caplog.text

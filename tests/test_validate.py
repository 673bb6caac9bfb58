"""One form of refusal for what many functions take."""

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.data.sources import from_arrays
from zfkeras.validate import choice, whole_number

IMAGES = np.zeros((2, 12, 14, 3), np.float32)


@pytest.fixture(scope="module")
def net():
    pixels = keras.Input((12, 14, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="c")(pixels))
    return keras.Model(pixels, keras.layers.Dense(2)(x))


CALLS = {
    "invariance": lambda net, n: zf.invariance(
        net, IMAGES, ["c"], transforms={"vertical": [1]}, batch_size=n
    ),
    "faithfulness": lambda net, n: zf.faithfulness(
        net, IMAGES, ["guided"], batch_size=n, steps=2, randomize=False
    ),
    "explanations": lambda net, n: zf.explanations(
        net, IMAGES, "guided", settings=zf.Settings(batch_size=n)
    ),
    "correspondence": lambda net, n: zf.correspondence(
        net, IMAGES, {"eye": [[3, 3], [4, 4]]}, ["c"], patch_size=3, batch_size=n
    ),
    "occlusion": lambda net, n: zf.occlusion(net, IMAGES, 4, 4, batch_size=n),
    "project": lambda net, n: zf.DeconvNet(net).project(IMAGES, "c", batch_size=n),
    "project_units": lambda net, n: zf.DeconvNet(net).project_units(
        IMAGES, "c", [[0, 1, 1, 0]], batch_size=n
    ),
    "Predictor": lambda net, n: zf.Predictor(net)(IMAGES, batch_size=n),
    "top_activations": lambda net, n: zf.top_activations(net, IMAGES, ["c"], batch_size=n),
    "evaluate": lambda net, n: zf.evaluate(
        net, from_arrays(IMAGES.astype(np.uint8), np.array([0, 1]), "ab"), batch_size=n
    ),
}


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", None, True], ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_every_batch_size_is_refused_alike(net, name, size):
    message = "`batch_size` must be a whole number of at least 1. Received: batch_size="
    with pytest.raises(ValueError, match=message):
        CALLS[name](net, size)


@pytest.mark.parametrize("name", CALLS)
def test_every_batch_size_is_taken(net, name):
    CALLS[name](net, np.int64(2))


def test_a_lower_bound_of_its_own():
    assert whole_number("draws", 0, low=0) == 0
    with pytest.raises(ValueError, match="`draws` must be a whole number of at least 0.*-1"):
        whole_number("draws", -1, low=0)


def test_choices():
    assert choice("rule", "b", ("a", "b")) == "b"
    with pytest.raises(ValueError, match="`rule` must be one of a, b. Received: rule=None"):
        choice("rule", None, ("a", "b"))

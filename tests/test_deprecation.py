"""Keywords under their older names."""

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.data.sources import from_arrays
from zfkeras.deprecation import renamed


@renamed(old="new", ancient="new")
def twice(first, new=3):
    return first, 2 * new


@pytest.mark.parametrize("name", ["old", "ancient"])
def test_an_older_name_warns_and_works(name):
    with pytest.warns(
        DeprecationWarning, match=rf"twice\({name}=\) is now called new=.*: {name}=5"
    ):
        assert twice(1, **{name: 5}) == (1, 10)
    assert twice(1, 5) == twice(1, new=5) == (1, 10)
    assert twice.__name__ == "twice"


def test_a_keyword_is_given_once():
    with pytest.raises(TypeError, match="Received: old= and new="):
        twice(1, old=5, new=5)
    with pytest.raises(TypeError, match="unexpected keyword"):
        twice(1, older=5)


@pytest.fixture
def net():
    pixels = keras.Input((9, 8, 3))
    x = keras.layers.Conv2D(2, 3, activation="relu", name="c")(pixels)
    return keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def test_what_users_wrote_goes_on_working(net, tmp_path):
    """Every keyword of the public functions that has had another name."""
    source = from_arrays(np.zeros((4, 9, 8, 3), np.uint8), np.array([0, 1, 0, 1]), ["a", "b"])
    with pytest.warns(DeprecationWarning, match=r"evaluate\(source=\)"):
        assert len(zf.evaluate(net, source=source).labels) == 4
    with pytest.warns(DeprecationWarning, match=r"export\((directory|labels)=\)"):
        assert zf.export(net, directory=tmp_path / "m", labels=["a", "b"]).name == "1"
    recipe = zf.recipe("krizhevsky", epochs=1, batch_size=2, schedule="cosine")
    with pytest.warns(DeprecationWarning, match=r"train\((source|output|verbose)=\)"):
        zf.train(net, source=source, recipe=recipe, output=tmp_path / "run", verbose=0)
    assert (tmp_path / "run" / "model.keras").exists()

"""What all results have in common."""

import dataclasses
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.results import Result

import networks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One of each kind, as users get it, by the name of its class."""
    model, rng = networks.chain(), np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, *model.input_shape[1:])).astype("float32")
    deconv = zf.DeconvNet(model)
    top = zf.top_activations(model, images, ["conv2"], k=2)["conv2"]
    occlusion = zf.occlusion(model, images[:2], 7, 5, layer="conv2", method="coarse")
    folder = tmp_path_factory.mktemp("evolution")
    zf.write_atlas(model, images, folder / "atlas", ["conv2"], k=1, maps=2, arrays=True)
    callback = zf.FeatureEvolution(images, ["conv2"], 2, epochs=[1], folder=folder)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    parts = {"eye": np.array([[8, 9], [7, 11], [9, 8]]), "ear": np.array([[4, 5]] * 3)}
    made = [
        deconv.project(images, "conv2", 2),
        deconv.project_units(images, "conv2", [[0, 1, 1, 2], [2, 0, 0, 1]]),
        occlusion,
        occlusion.scores,
        occlusion.map,
        occlusion.coarse,
        top,
        top.statistics,
        zf.filter_statistics(model),
        zf.explanations(model, images, ["guided", "random"]),
        zf.faithfulness(model, images, ["guided", "random"], steps=3),
        zf.invariance(model, images, ["conv2"], transforms={"vertical": [0, 3, -3]}),
        zf.correspondence(model, images, parts, ["conv2"], patch_size=5),
        zf.load_evolution(folder)["conv2"][0],
        zf.Winners.load(next((folder / "atlas" / "winners").glob("*.npz"))),
        zf.Evaluation(np.array([[0.75, 0.25], [0.5, 0.5]], "float32"), np.array([0, 1])),
    ]
    return {type(one).__name__: one for one in made}


def kinds():
    """All classes of results in the package."""
    for module in pkgutil.walk_packages(zf.__path__, "zfkeras."):
        if not module.name.endswith(("__main__", ".beam")):
            importlib.import_module(module.name)
    found, new = set(), {Result}
    while new:
        found |= new
        new = {sub for cls in new for sub in cls.__subclasses__()} - found
    return {cls for cls in found - {Result} if cls.__module__.startswith("zfkeras.")}


def test_every_kind_is_public_and_tried_here(found):
    names = {cls.__name__ for cls in kinds()}
    assert names == set(found)
    assert names <= set(zf.__all__)


def each(test):
    names = sorted(
        "CoarseSearch Correspondence Evaluation Explanations Faithfulness FilterStatistics "
        "Invariance MapStatistics Occlusion Projection Snapshot TopActivations UnitProjections "
        "WatchedMap WatchedScores Winners".split()
    )
    return pytest.mark.parametrize("name", names)(test)


@each
def test_it_is_frozen_and_printed_on_a_line(found, name):
    text = repr(found[name])
    assert text.startswith(f"{name}(")
    assert "\n" not in text
    assert len(text) < 200
    field = dataclasses.fields(found[name])[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(found[name], field, 0)


@each
def test_it_is_equal_to_itself_alone(found, name):
    one = found[name]
    assert one == one
    assert one != one.replace()
    assert len({one, one.replace()}) == 2


@each
def test_files_hold_it_to_the_bit(found, name, tmp_path):
    one = found[name]
    path = one.save(tmp_path / "one.npz")
    for loaded in (type(one).load(path), zf.load_results(path)):
        loaded = loaded[one.layer] if isinstance(loaded, dict) else loaded
        assert type(loaded) is type(one)
        assert loaded.flat().keys() == one.flat().keys()
        for key, value in one.flat().items():
            other = getattr(loaded, key)
            assert type(other) is type(value), key
            np.testing.assert_array_equal(other, value)
            if isinstance(value, np.ndarray) and value.dtype.kind != "U":
                assert other.dtype == value.dtype, key
    with np.load(path, allow_pickle=False) as file:
        assert all(file[key].dtype != object for key in file)


@each
def test_a_notebook_shows_its_figure(found, name):
    assert found[name].plot().get_axes()
    assert found[name]._repr_html_().startswith(f'<img alt="{name}" src="data:image/png;base64,')


def test_the_kind_of_a_file_is_checked(found, tmp_path):
    path = found["Projection"].save(tmp_path / "one.npz")
    with pytest.raises(ValueError, match=r"holds no occlusion.*Received: path=.*one\.npz"):
        zf.Occlusion.load(path)
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"holds no result.*Received: path=.*no\.npz"):
        zf.load_results(tmp_path / "no.npz")


def test_files_of_the_version_before_are_read(found, tmp_path):
    """They held the same entries, without the name of the class."""
    one, path = found["Occlusion"], tmp_path / "old.npz"
    with np.load(one.save(path)) as file:
        arrays = dict(file)
    settings = str(arrays["settings"]).replace(', "result": "Occlusion"', "")
    assert "Occlusion" not in settings
    np.savez_compressed(path, **(arrays | {"settings": settings}))
    np.testing.assert_array_equal(zf.Occlusion.load(path).probabilities, one.probabilities)
    with pytest.raises(ValueError, match="older ones are read by their class' `load`"):
        zf.load_results(path)


def test_the_whole_has_the_attributes_of_its_parts(found):
    one = found["Occlusion"]
    assert one.probabilities is one.scores.probabilities
    assert one.channel is one.map.channel
    assert one.error is one.coarse.error
    bare = one.replace(evaluated=None, error=None)
    assert bare.coarse is None
    assert bare.error is None
    with pytest.raises(AttributeError, match="'Occlusion' object has no attribute 'probs'"):
        one.probs  # noqa: B018


def test_explanations_are_an_array_where_one_is_wanted(found):
    one = found["Explanations"]
    assert one.shape == np.asarray(one).shape == (2, 3, *networks.chain().input_shape[1:3])
    np.testing.assert_array_equal(one[1], one.maps[1])
    assert len(one) == 2
    assert keras.ops.convert_to_numpy(np.abs(one)).max() == np.abs(one.maps).max()

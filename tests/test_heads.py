"""What a head means, for every kind of head: against `model.predict` and NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from heads import (
    ALL,
    LOGITS,
    PROBABILITIES,
    SCORES,
    SHAPE,
    OwnCall,
    dense,
    flat,
    net,
    predicted,
    right,
    sigmoid,
    softmax,
)

import zfkeras as zf
from zfkeras.graph import walk
from zfkeras.graph.copies import FlatCopy
from zfkeras.graph.heads import head_of

L = keras.layers


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (3, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("name", ALL)
def test_every_head_is_read_as_what_it_is(name, images):
    model = ALL[name]()
    predictor = zf.Predictor(model)
    scores = predictor(images, batch_size=2).scores
    np.testing.assert_allclose(scores, right(name, predicted(model, images)), rtol=1e-3, atol=1e-6)
    assert predictor.score_name == ("score" if name in SCORES else "probability")
    assert predictor.classes == scores.shape[1]


@pytest.mark.parametrize("name", ALL)
def test_raw_is_what_the_model_answers(name, images):
    model = ALL[name]()
    expected = predicted(model, images).reshape(3, -1)
    for said in ({"scores": "raw"}, {"softmax": False}):
        scores = zf.Predictor(model, **said)(images).scores
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-7)


def test_a_single_logit_becomes_a_probability_when_the_user_says_so(images):
    model = SCORES["one logit or regression"]()
    predictor = zf.Predictor(model, scores="sigmoid")
    np.testing.assert_allclose(
        predictor(images).scores, sigmoid(predicted(model, images)), rtol=1e-5
    )
    assert predictor.score_name == "probability"


def test_many_logits_may_be_of_classes_that_do_not_exclude_one_another(images):
    model = LOGITS["logits"]()
    scores = zf.Predictor(model, scores="sigmoid")(images).scores
    np.testing.assert_allclose(scores, sigmoid(predicted(model, images)), rtol=1e-5)


@pytest.mark.parametrize("said", [{"scores": "softmax"}, {"softmax": True}])
def test_asking_for_a_softmax_never_takes_it_twice(said, images):
    for name in ("logits", "softmax", "two softmaxes, averaged", "a function of one's own"):
        model = ALL[name]()
        outputs = predicted(model, images)
        expected = outputs if name in PROBABILITIES else softmax(outputs)
        scores = zf.Predictor(model, **said)(images).scores
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("one logit or regression", "softmax", "softmax of a single score.*'sigmoid'.*scores='so"),
        ("many sigmoids", "softmax", "no logits: they end in a sigmoid.*'raw'.*scores='softmax'"),
        ("softmax", "sigmoid", "no logits: they end in a softmax.*'raw'.*scores='sigmoid'"),
        ("logits", "percent", "not clear.*'softmax', 'sigmoid' or 'raw'.*scores='percent'"),
        ("logits", 1, "not clear.*Received: scores=1"),
    ],
)
def test_what_contradicts_the_head_is_refused(name, said, message):
    with pytest.raises(ValueError, match=message):
        zf.Predictor(ALL[name](), scores=said)


def test_the_older_keyword_and_the_new_one_must_not_both_speak():
    with pytest.raises(ValueError, match="said twice.*softmax=None.*softmax=True"):
        zf.Predictor(ALL["logits"](), scores="raw", softmax=True)


@pytest.mark.parametrize("last", [lambda: L.Lambda(tf.nn.softmax), OwnCall])
def test_a_layer_that_may_do_anything_is_not_guessed(last, images):
    model = flat(dense(), last)()
    message = f"Cannot tell.*'{model.layers[-1].name}'.*softmax=True or False.*scores=True"
    with pytest.raises(ValueError, match=message):
        zf.Predictor(model)
    scores = zf.Predictor(model, scores="raw")(images).scores
    np.testing.assert_allclose(scores, predicted(model, images), rtol=1e-5)


def test_scores_of_many_places_are_no_classes(images):
    model = net(L.Conv2D(3, 1))
    message = r"does not classify.*\(N, classes\).*shape=\(None, 6, 4, 3\)"
    with pytest.raises(ValueError, match=message):
        zf.Predictor(model)(images)


def test_a_fully_convolutional_net_classifies_where_it_has_one_place(rng):
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, L.Conv2D(4, (5, 7))(pixels))
    predictor = zf.Predictor(model)
    images = rng.uniform(-1, 1, (2, 5, 7, 3)).astype(np.float32)
    expected = softmax(predicted(model, images)[:, 0, 0])
    np.testing.assert_allclose(predictor(images).scores, expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"does not classify.*shape=\(None, 2, 1, 4\)"):
        predictor(rng.uniform(-1, 1, (2, 6, 7, 3)))
    np.testing.assert_allclose(predictor(images).scores, expected, rtol=1e-4)


# === Several outputs ===


def two_outputs(structure):
    keras.utils.set_random_seed(2)
    pixels = keras.Input(SHAPE)
    x = L.Flatten()(L.Conv2D(4, 3, activation="relu", name="conv")(pixels))
    kinds, age = L.Dense(3, name="kinds")(x), L.Dense(1, "sigmoid", name="old")(x)
    return keras.Model(pixels, structure(kinds, age))


STRUCTURES = {
    "list": (lambda kinds, age: [kinds, age], ("kinds", "old"), lambda y: y),
    "dict": (
        lambda kinds, age: {"what": kinds, "age": age},
        ("what", "age"),
        lambda y: (y["what"], y["age"]),
    ),
    "nested": (
        lambda kinds, age: {"a": [kinds], "b": age},
        ("a/0", "b"),
        lambda y: (y["a"][0], y["b"]),
    ),
}


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_several_outputs_are_chosen_by_name(kind, wrapped, images):
    structure, names, parts = STRUCTURES[kind]
    model = two_outputs(structure)
    images = images / 255
    kinds, age = parts(model.predict(images, verbose=0))
    if wrapped:  # as a part of another model, whose outputs have the names of their layers
        pixels = keras.Input(SHAPE)
        model, names = keras.Model(pixels, list(parts(model(pixels)))), ("kinds", "old")
    first, second = (zf.Predictor(model, output=name) for name in names)
    np.testing.assert_allclose(first(images).scores, softmax(kinds), rtol=1e-4)
    np.testing.assert_allclose(second(images).scores, age, rtol=1e-4)
    by_layer = zf.Predictor(model, output="old")
    np.testing.assert_array_equal(by_layer(images).scores, second(images).scores)
    for wrong in (None, "ages"):
        with pytest.raises(ValueError, match=rf"Expected the name.*Received: output={wrong!r}"):
            zf.Predictor(model, output=wrong)


def test_a_dict_of_one_output_needs_no_name(images):
    pixels = keras.Input(SHAPE)
    model = keras.Model(pixels, {"only": L.Dense(3)(L.Flatten()(pixels))})
    expected = softmax(model.predict(images / 255, verbose=0)["only"])
    for options in ({}, {"output": "only"}):
        scores = zf.Predictor(model, **options)(images / 255).scores
        np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_the_output_need_not_be_computed_last(images):
    """Steps come in Keras' own order; the last one may belong to another branch."""
    pixels = keras.Input(SHAPE)
    early = L.Dense(2, "softmax", name="early")(L.Flatten()(pixels))
    late = L.Conv2D(2, 3, name="late")(pixels)
    for _ in range(3):
        late = L.ReLU()(late)
    model = keras.Model(pixels, [early, late])
    predictor = zf.Predictor(model, ["late"], output="early")
    scores, (maps,) = predictor(images / 255)
    expected = model.predict(images / 255, verbose=0)[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert maps.shape == (3, 6, 4, 2)


def test_models_with_a_call_of_their_own_tell_what_they_answer_if_told_how(images):
    class Own(keras.Model):
        def call(self, x):
            return {"mean": tf.reduce_mean(x, (1, 2)), "most": tf.reduce_max(x, (1, 2))}

    with pytest.raises(ValueError, match="Cannot tell.*softmax=True or False"):
        zf.Predictor(Own(), output="mean")
    with pytest.raises(ValueError, match="several outputs.*'mean', 'most'.*output=None"):
        zf.Predictor(Own(), scores="raw")(images)
    scores = zf.Predictor(Own(), output="most", scores="raw")(images).scores
    np.testing.assert_allclose(scores, images.max((1, 2)))
    with pytest.raises(ValueError, match="has its own `call`"):
        zf.Predictor(Own(), ["conv"], scores="raw")


# === The rest of a predictor ===


def test_layers_alone_need_no_head(images):
    model = net(L.Lambda(tf.nn.softmax), L.Conv2D(2, 1, name="top"))
    scores, (maps,) = zf.Predictor(model, ["conv"], scores=False)(images)
    assert scores is None
    assert maps.shape == (3, 6, 4, 4)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_holds_something(batch_size, images):
    with pytest.raises(ValueError, match=f"at least 1.*batch_size={batch_size}"):
        zf.Predictor(ALL["logits"]())(images, batch_size)


def test_a_predictor_is_traced_once_for_a_size(images):
    model = ALL["logits"]()
    predictor = zf.Predictor(model)
    predictor(images, batch_size=2)
    (traced,) = predictor._traced.values()
    predictor(images[:1])
    (again,) = predictor._traced.values()
    assert again is traced


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_flat_copy_ends_in_the_logits_whatever_follows_the_softmax(name, images):
    """Its own head taken of the copy's outputs gives the model's, but where means are taken."""
    model = PROBABILITIES[name]()
    copy = FlatCopy(model, logits=True).model
    assert head_of(walk(copy)).kind == "logits"
    if "mean" in name or "averaged" in name or "clipped" in name:
        return
    outputs, logits = (predicted(m, images).reshape(3, -1) for m in (model, copy))
    if "joined" in name:
        expected = np.concatenate([sigmoid(logits[:, :1]), softmax(logits[:, 1:])], 1)
    elif "hard" in name:
        expected = np.clip(logits / 6 + 0.5, 0, 1)
    else:
        expected = (sigmoid if "sigmoid" in name else softmax)(logits)
    np.testing.assert_allclose(outputs, expected, atol=2e-3)


def test_a_softmax_of_places_is_none_of_classes(images):
    """Over rows: what is averaged afterwards sums to anything."""
    model = net(L.Conv2D(3, 1), L.Softmax(axis=1), L.GlobalAveragePooling2D())
    with pytest.raises(ValueError, match="Cannot tell what the model's outputs mean.*Received: "):
        zf.Predictor(model)
    found = zf.Predictor(model, scores="raw")(images).scores
    np.testing.assert_allclose(found, predicted(model, images), rtol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "one sigmoid", "tf.nn.softmax built in",
                                  "softmax layer", "softmax activation", "keras.ops.sigmoid",
                                  "one hard sigmoid", "softmax layer built in"])  # fmt: skip
def test_every_squashed_head_is_projected_from_its_logits(name, images):
    """Built in or a layer of its own; `check_model` and the deconvnet say the same of it."""
    model = PROBABILITIES[name]()
    path = walk(model).steps[-1].path
    checked = zf.check_model(model)
    assert checked.ok
    assert path in checked.projectable
    deconv = zf.DeconvNet(model, rule="gradient")
    assert deconv.why_not(path) == ""
    logits = FlatCopy(model, logits=True).model
    found = deconv.project(images, path, channels=[0])
    x = tf.Variable(images)
    with tf.GradientTape() as tape:
        expected = tf.reshape(logits(x), [3, -1])[:, 0]
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=1e-4, atol=1e-5)
    gradient = tape.gradient(expected, x) * tf.reshape(expected, [3, 1, 1, 1])
    np.testing.assert_allclose(found.pixels[:, 0], gradient, rtol=1e-3, atol=1e-5)

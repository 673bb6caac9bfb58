"""Every kind of head in every analysis and signature: against `model.predict` and loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from heads import ALL, SCORES, SHAPE, net, predicted, right
from tiers import first_by_default

import zfkeras as zf
from zfkeras.analysis.faithfulness import Faithfulness
from zfkeras.data.sources import from_arrays
from zfkeras.image import colour_map

L = keras.layers
HEADS = {
    name: ALL[name]
    for name in (
        "softmax", "softmax, then reshaped", "softmax in half precision", "softmax of one place",
        "one sigmoid", "many sigmoids", "sigmoid as a number", "logits", "logits of one place",
        "logits over a temperature", "one logit or regression", "regression by ReLU",
    )
}  # fmt: skip

SOME = ("softmax in half precision", "sigmoid as a number", "many sigmoids", "logits of one place",
        "one logit or regression")  # fmt: skip
some_heads = pytest.mark.parametrize("head", SOME, indirect=True)


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (3, *SHAPE)).astype(np.float32)


@pytest.fixture(params=HEADS)
def head(request):
    """The head's name, its model, and what the model's outputs for some images mean."""
    model = HEADS[request.param]()
    return request.param, model, lambda x: right(request.param, predicted(model, x))


def score_name(name):
    return "score" if name in SCORES else "probability"


def hidden(image, row, column, patch, fill):
    """One occluded image, pixel by pixel."""
    image = image.copy()
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if 0 <= y - (row - patch // 2) < patch and 0 <= x - (column - patch // 2) < patch:
                image[y, x] = fill
    return image


# === The analyses ===


@pytest.mark.parametrize("method", ["plain", "incremental", "coarse"])
@some_heads
def test_occlusion(head, images, method):
    name, model, answer = head
    found = zf.occlusion(model, images, 3, 2, fill_value=77, method=method)
    whole = answer(images)
    best = whole.argmax(1)
    assert found.score_name == score_name(name)
    np.testing.assert_array_equal(found.baseline_predicted, best)
    np.testing.assert_allclose(
        found.baseline_probabilities[:, 0], whole[range(3), best], rtol=2e-3, atol=1e-5
    )
    for n, image in enumerate(images):
        places = [hidden(image, r, c, 3, 77) for r in found.rows for c in found.columns]
        expected = answer(np.array(places)).reshape(len(found.rows), len(found.columns), -1)
        seen = slice(None) if method != "coarse" else found.evaluated[n]
        close = {"rtol": 2e-3, "atol": 2e-4}
        np.testing.assert_allclose(
            found.probabilities[n, ..., 0][seen], expected[..., best[n]][seen], **close
        )
        if "half" not in name:
            np.testing.assert_array_equal(found.predicted[n][seen], expected.argmax(-1)[seen])


def test_invariance(head, images):
    name, model, answer = head
    found = zf.invariance(model, images, "conv", transforms={"vertical": [0, 2]}, fill_value=9)
    whole, moved = answer(images), np.full_like(images, 9)
    moved[:, 2:] = images[:, :-2]
    best, each = whole.argmax(1), range(3)
    assert found.score_name == score_name(name)
    expected = np.stack([whole[each, best], answer(moved)[each, best]], 1)
    np.testing.assert_allclose(found.probabilities, expected, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(found.baseline_probabilities, expected[:, 0], rtol=2e-3, atol=1e-5)


def test_correspondence(head, images):
    name, model, answer = head
    centres = [[4, 2], [3, 3], [2, 4]]
    found = zf.correspondence(model, images, {"nose": centres}, "conv", 3, draws=1, fill_value=5)
    best, each = answer(images).argmax(1), range(3)
    covered = np.stack(
        [hidden(image, *centre, 3, 5) for image, centre in zip(images, centres, strict=True)]
    )
    assert found.score_name == score_name(name)
    expected = answer(covered)[each, best]
    np.testing.assert_allclose(found.probabilities[0], expected, rtol=2e-3, atol=1e-5)


def test_faithfulness_and_explanations(head, images):
    name, model, answer = head
    methods = ["deconvnet_logit", "guided", "gradient_x_input", "occlusion", "random"]
    found = zf.faithfulness(model, images, methods, steps=4, fill_value=60, randomize=False)
    whole = answer(images)
    best, each = whole.argmax(1), range(3)
    assert found.methods == tuple(methods)
    assert found.score_name == score_name(name)
    ends = whole[each, best], answer(np.full_like(images, 60))[each, best]
    for curves, (first, last) in ((found.deletion, ends), (found.insertion, ends[::-1])):
        for curve in curves:
            np.testing.assert_allclose(curve[:, 0], first, rtol=2e-3, atol=1e-4)
            np.testing.assert_allclose(curve[:, -1], last, rtol=2e-3, atol=1e-4)
    alone = zf.explanations(model, images, "occlusion", classes=best)
    np.testing.assert_allclose(alone[0], found.maps[methods.index("occlusion")], atol=1e-3)


def test_gradient_is_of_what_stands_before_the_softmax_or_sigmoid(images):
    for name in ("many sigmoids", "softmax"):
        model = HEADS[name]()
        last = model.layers[-1]
        activation, last.activation = last.activation, keras.activations.linear
        x = tf.Variable(images)
        with tf.GradientTape() as tape:
            logit = model(x)[:, 1]
        expected = (tape.gradient(logit, x) * images).numpy().sum(-1)
        last.activation = activation
        found = zf.explanations(model, images, "gradient_x_input", classes=1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["softmax", "many sigmoids", "logits", "softmax of one place"])
@pytest.mark.parametrize("ten_crop", [False, True])
def test_evaluation(name, ten_crop, rng):
    model = HEADS[name]()
    pixels = rng.integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    truth = np.array([0, 1, 2, 1, 0])
    source = from_arrays(pixels, truth, ["a", "b", "c"])
    found = zf.evaluate(model, source, ten_crop=ten_crop, scale=1.0)
    views = [pixels, pixels[:, :, ::-1]] if ten_crop else [pixels]  # ten crops: five of each
    expected = np.mean([right(name, predicted(model, v.astype("float32"))) for v in views], 0)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-3, atol=1e-5)
    assert found.accuracy == np.mean(expected.argmax(1) == truth)


@pytest.mark.parametrize("scores", [True, "sigmoid"])
def test_evaluation_of_one_probability_of_two_classes(scores, rng):
    model = HEADS["one sigmoid" if scores is True else "one logit or regression"]()
    pixels = rng.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    truth = np.array([0, 1, 1, 0, 1, 0])
    source = from_arrays(pixels, truth, ["cat", "dog"])
    found = zf.evaluate(model, source, scale=1.0, scores=scores)
    outputs = predicted(model, pixels.astype("float32"))[:, 0]
    dog = outputs if scores is True else 1 / (1 + np.exp(-outputs))
    np.testing.assert_allclose(found.probabilities, np.stack([1 - dog, dog], 1), rtol=1e-4)
    assert found.accuracy == np.mean((dog > 0.5) == truth)


def test_a_regression_tells_no_classes(rng):
    source = from_arrays(np.zeros((2, *SHAPE), np.uint8), [0, 1], ["cat", "dog"])
    with pytest.raises(ValueError, match=r"one output for each of the 2.*\(None, 1\)"):
        zf.evaluate(HEADS["one logit or regression"](), source)


# === What is exported ===


def loaded(path):
    return tf.saved_model.load(str(path)).signatures


@pytest.mark.parametrize("head", first_by_default(SOME), indirect=True)
def test_signatures(head, images, tmp_path):
    name, model, answer = head
    path = zf.export(model, tmp_path / "m", top=2, occlusion_strides=2)
    signatures = loaded(path)
    whole = answer(images)
    plural = "scores" if name in SCORES else "probabilities"
    order = np.argsort(-whole, axis=1, kind="stable")[:, :2]
    found = signatures["classify_pixels"](pixels=images)
    assert set(found) == {"classes", "class_ids", plural}
    np.testing.assert_allclose(
        found[plural], np.take_along_axis(whole, order, 1), rtol=2e-3, atol=1e-5
    )
    if "half" not in name:
        np.testing.assert_array_equal(found["class_ids"], order)
    hiding = signatures["occlusion_pixels"](
        pixels=images, patch_size=np.full(3, 3, np.int32), fill_value=np.full(3, 77, np.float32)
    )
    library = zf.occlusion(model, images, 3, 2, fill_value=77)
    rows, columns = hiding["rows"].shape[1], hiding["columns"].shape[1]
    np.testing.assert_allclose(
        hiding[plural], library.probabilities[:, :rows, :columns, 0], rtol=2e-3, atol=1e-5
    )
    np.testing.assert_allclose(
        hiding[score_name(name)], library.baseline_response, rtol=2e-3, atol=1e-5
    )


def test_what_softmax_and_logit_nets_answer_is_called_as_ever(tmp_path):
    signatures = loaded(zf.export(HEADS["logits"](), tmp_path / "m"))
    outputs = {name: set(signatures[name].structured_outputs) for name in signatures}
    common = set(
        "class class_id probability channel activation patch_size rows columns probabilities "
        "activations predicted predicted_classes".split()
    )
    unit = {"value", "row", "column", "channel", "box"}
    classes = {"classes", "class_ids", "probabilities"}
    assert outputs == {
        "serving_default": classes,
        "classify": classes,
        "classify_examples": {"classes", "scores"},
        "classify_pixels": classes,
        "deconv": unit | {"projection_bytes", "input_bytes"},
        "deconv_pixels": unit | {"projection"},
        "occlusion": common | {"heat_map_bytes", "input_bytes"},
        "occlusion_pixels": common | {"heat_map"},
    }


def test_export_takes_the_sigmoid_of_a_logit_when_told(images, tmp_path):
    model = HEADS["one logit or regression"]()
    path = zf.export(model, tmp_path / "m", class_names=["cat", "dog"], scores="sigmoid")
    found = loaded(path)["classify_pixels"](pixels=images)
    expected = 1 / (1 + np.exp(-predicted(model, images)))
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-4)
    assert found["classes"].numpy().tolist() == [[b"dog"]] * 3


def test_the_picture_of_scores_spans_their_range(tmp_path):
    """A regression's values may lie anywhere; the lowest, where hiding matters, is brightest."""
    model = net(L.Flatten(), L.Dense(1), lambda x: x * 100 + 500)
    signatures = loaded(zf.export(model, tmp_path / "m", occlusion_strides=2, scale=1.0))
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    inputs = {"patch_size": tf.constant([3]), "fill_value": tf.constant([77.0])}
    png = tf.io.encode_png(noise)[None]
    found = signatures["occlusion"](image_bytes=png, **inputs)
    shown = tf.io.decode_png(found["heat_map_bytes"][0]).numpy()
    heat = signatures["occlusion_pixels"](pixels=noise[None].astype(np.float32), **inputs)
    heat = heat["heat_map"][0].numpy()
    for extreme, unit in ((heat.argmin(), 1), (heat.argmax(), 0)):
        expected = colour_map(np.array([[unit]]), low=0, high=1)[0, 0]
        np.testing.assert_array_equal(shown.reshape(-1, 3)[extreme], expected)


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"]])
def test_a_regression_has_one_label(labels, tmp_path):
    model = HEADS["one logit or regression"]()
    with pytest.raises(ValueError, match=f"Expected 1 names.*Received: {len(labels)} labels"):
        zf.export(model, tmp_path / "m", class_names=labels)


# === Several outputs ===


def two():
    keras.utils.set_random_seed(3)
    pixels = keras.Input(SHAPE)
    x = L.Conv2D(4, 3, activation="relu", name="conv")(L.Rescaling(1 / 255)(pixels))
    x = L.Flatten()(x)
    return keras.Model(
        pixels, {"kind": L.Dense(3, name="k")(x), "age": L.Dense(1, "relu", name="a")(x)}
    )


RUNS = {
    "occlusion": lambda model, images, **o: zf.occlusion(model, images, 5, 4, **o),
    "incremental": lambda model, images, **o: zf.occlusion(
        model, images, 5, 4, method="incremental", **o
    ),
    "invariance": lambda model, images, **o: zf.invariance(
        model, images, "conv", transforms={"vertical": [1]}, **o
    ),
    "correspondence": lambda model, images, **o: zf.correspondence(
        model, images, {"x": [[3, 3]] * 3}, "conv", 3, draws=0, **o
    ),
    "faithfulness": lambda model, images, **o: zf.faithfulness(
        model, images, ["guided", "occlusion"], steps=2, randomize=False, **o
    ),
    "layer": lambda model, images, **o: zf.occlusion(model, images, 5, 4, layer="conv", **o),
}


@pytest.mark.parametrize("run", RUNS)
def test_several_outputs_are_asked_for_by_name(run, images):
    model, ask = two(), RUNS[run]
    answers = model.predict(images, verbose=0)
    e = np.exp(answers["kind"])
    kinds = (e / e.sum(1, keepdims=True)).max(1)
    for output, expected in (("kind", kinds), ("age", answers["age"][:, 0])):
        found = ask(model, images, output=output)
        baseline = found.baseline_probabilities.reshape(3, -1)[:, 0]
        np.testing.assert_allclose(baseline, expected, rtol=1e-4)
        assert found.score_name == {"kind": "probability", "age": "score"}[output]
    for wrong in (None, "size"):
        with pytest.raises(ValueError, match=rf"Expected the name.*'age', 'kind'.*{wrong!r}"):
            ask(model, images, output=wrong)


def test_export_of_several_outputs(images, tmp_path):
    model = two()
    with pytest.raises(ValueError, match="several outputs.*'age', 'kind'.*output=None"):
        zf.export(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    found = loaded(zf.export(model, tmp_path / "m", output="age"))["classify_pixels"](pixels=images)
    expected = model.predict(images, verbose=0)["age"]
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-4)


# === Methods that don't suit a model ===


def test_one_unsuited_method_is_skipped_by_name(images, tmp_path):
    keras.utils.set_random_seed(1)
    model = net(L.Activation("gelu"), L.Flatten(), L.Dense(3))
    found = zf.faithfulness(
        model, images, ["deconvnet_logit", "gradient_x_input", "occlusion"], steps=2
    )
    assert found.methods == ("gradient_x_input", "occlusion")
    assert found.maps.shape[0] == found.deletion.shape[0] == found.cascading.shape[0] == 2
    (((method, reason)),) = found.skipped
    assert method == "deconvnet_logit"
    assert "gelu" in reason
    again = Faithfulness.load(found.save(tmp_path / "f.npz"))
    assert again.skipped == found.skipped
    with pytest.raises(ValueError, match="None of these methods suits.*deconvnet_logit.*gelu"):
        zf.faithfulness(model, images, "deconvnet_logit", steps=2)
    with pytest.raises(ValueError, match="gelu"):
        zf.explanations(model, images, "deconvnet_logit")


def test_a_wrong_name_of_a_method_is_no_unsuited_method(images):
    with pytest.raises(ValueError, match="must be one of.*method='guidde'"):
        zf.faithfulness(HEADS["logits"](), images, ["random", "guidde"])

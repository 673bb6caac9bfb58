"""`check_model` on models with known faults."""

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.analysis.model_check import check_model
from zfkeras.deconvnet.rules import rectify

import networks

L = keras.layers


def found(model, **options):
    """{what: finding}"""
    return {finding.what: finding for finding in check_model(model, **options).findings}


def model_of(*layers, shape=(17, 12, 3)):
    return keras.Sequential([keras.Input(shape), *layers])


CLEAN = (
    L.Rescaling(1 / 255, name="scale"),
    L.Conv2D(4, 3, activation="relu", name="conv1"),
    L.MaxPooling2D(2, name="pool1"),
    L.Flatten(name="flat"),
    L.Dense(3, name="logits"),
)


def test_a_clean_model_has_nothing_but_its_head():
    check = check_model(model_of(*CLEAN))
    assert check.ok
    assert check.projectable == ("scale", "conv1", "pool1", "flat", "logits")
    assert [finding.what for finding in check.findings] == ["The model ends in scores"]
    assert check.to_dict()["ok"] is True


def test_a_nonlinearity_without_a_rule_bars_all_above_it():
    model = model_of(
        *CLEAN[:3], L.Conv2D(4, 2, activation="gelu", name="conv2"), L.Flatten(name="flat"),
        L.Dense(2, name="logits"),
    )  # fmt: skip
    check = check_model(model)
    assert not check.ok
    assert check.projectable == ("scale", "conv1", "pool1")
    assert check.unreachable == ("conv2", "flat", "logits")
    assert check.findings[0].level == "problem"
    assert check.findings[0].layers == ("conv2: gelu",)
    with pytest.raises(ValueError, match="conv2"):  # it says what DeconvNet says
        zf.DeconvNet(model).project(np.zeros((1, 17, 12, 3)), "flat")
    mended = check_model(model, rules={keras.activations.gelu: rectify})
    assert mended.ok
    assert mended.unreachable == ()


@pytest.mark.parametrize("activation", ["leaky_relu", "silu", "tanh", "elu"])
def test_other_nonlinearities(activation):
    check = check_model(model_of(CLEAN[0], L.Conv2D(4, 3, name="conv1"), L.Activation(activation)))
    assert check.findings[0].layers[0].endswith(activation)


def test_attention_gates_have_no_rule():
    x = pixels = keras.Input((9, 11, 3))
    gate = L.Conv2D(3, 1, activation="relu")(x)
    assert check_model(keras.Model(pixels, L.Multiply(name="gate")([x, gate]))).unreachable == (
        "gate",
    )


def test_every_way_to_end():
    probabilities = found(model_of(*CLEAN[:4], L.Dense(3, activation="softmax", name="head")))
    assert probabilities["The model ends in a softmax"].layers == ("head",)
    assert "The model ends in a softmax" in found(model_of(*CLEAN, L.Softmax()))
    many = found(model_of(*CLEAN[:4], L.Dense(3, activation="sigmoid", name="head")))
    assert "softmax=False" in many["The model ends in a sigmoid"].consequence
    assert check_model(model_of(*CLEAN, L.Softmax())).ok


def test_pools():
    striding = found(
        model_of(
            CLEAN[0], L.Conv2D(4, 3, 2, activation="relu"), L.GlobalAveragePooling2D(name="mean")
        )
    )
    assert striding["There is no max pooling"].level == "caution"
    assert striding["Pools that average"].layers == ("mean",)
    assert "There is no max pooling" not in found(
        zf.ZFNet(classes=3, input_shape=(48, 56, 3), width=0.05)
    )


def test_batch_normalisation_and_its_negative_scales():
    norm = L.BatchNormalization(name="norm")
    model = model_of(CLEAN[0], L.Conv2D(4, 3), norm, L.ReLU(6.0, name="relu"), L.MaxPooling2D(2))
    assert "0 channels" not in str(check_model(model))
    assert found(model)["Batch normalisation"].layers == ("norm",)
    norm.set_weights([np.array([1.0, 0.5, 2, -1]), *norm.get_weights()[1:]])
    assert found(model)["1 channel with a negative scale"].layers == ("norm",)
    assert found(model)["ReLUs with a ceiling"].layers == ("relu",)


def test_filters_of_zeros_and_skips_and_missing_preprocessing():
    x = pixels = keras.Input((9, 11, 3))
    conv = L.Conv2D(3, 3, padding="same", activation="relu", name="conv")
    model = keras.Model(pixels, L.MaxPooling2D(2)(L.Add(name="add")([x, conv(x)])))
    kernel = conv.get_weights()[0]
    kernel[..., 1] = 0
    conv.set_weights([kernel, np.ones(3)])
    findings = found(model)
    assert findings["1 filter of zeros"].layers == ("conv",)
    assert findings["Branches that are added"].layers == ("add",)
    assert findings["No preprocessing layer"].level == "caution"


def test_a_model_that_cannot_be_walked():
    class Own(keras.Model):
        def call(self, x):
            return x

    check = check_model(Own())
    assert not check.ok
    assert "own `call`" in check.findings[0].consequence
    with pytest.raises(TypeError, match="keras.Model"):
        check_model("model.keras")


@pytest.mark.parametrize("name", ["nested", "mobile", "shared_layer", "squeezenet_like"])
def test_what_it_calls_projectable_is(name):
    model = getattr(networks, name)()
    check, images = check_model(model), networks.images(model, 1)
    assert check.projectable
    assert check.unreachable == ()
    for layer in check.projectable[:: max(1, len(check.projectable) // 3)]:
        zf.DeconvNet(model).project(images, layer)


def test_the_report_reads_well():
    text = str(check_model(model_of(*CLEAN[:2], L.Activation("gelu", name="gelu"))))
    assert text.startswith("sequential")
    assert "2 of 3 layers can be projected" in text
    assert "problem  Layers without a reverse rule (gelu: gelu)." in text
    assert max(map(len, text.splitlines())) <= 96


def test_layers_that_are_told_to_train_are_told_of():
    pixels = keras.Input((17, 12, 3))
    x = L.Conv2D(4, 3, name="conv")(L.Rescaling(1 / 255)(pixels))
    x = L.BatchNormalization(name="always")(x, training=True)
    told = found(keras.Model(pixels, L.MaxPooling2D(2)(x)))
    assert told["Layers that are told to be in training"].layers == ("always",)
    x = L.BatchNormalization()(L.Conv2D(4, 3)(L.Rescaling(1 / 255)(pixels)))
    told = found(keras.Model(pixels, L.MaxPooling2D(2)(x)))
    assert "Layers that are told to be in training" not in told

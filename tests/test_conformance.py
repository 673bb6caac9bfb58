"""What every public layer, constraint and model must survive, and that none is left out."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf

SMALL = {"classes": 4, "input_shape": (48, 56, 3), "width": 0.04, "fc_units": 6}

# A factory of each public Keras object, with arguments that are not the defaults.
LAYERS = {
    "MaxPoolWithArgmax2D": lambda: zf.MaxPoolWithArgmax2D((3, 2), (2, 1), "ceil"),
    "LocalResponseNormalization": lambda: zf.LocalResponseNormalization(
        depth_radius=1, bias=1.5, alpha=1e-2, beta=0.6, alpha_is_per_element=False
    ),
    "PixelMean": lambda: zf.PixelMean(per_pixel=False),
    "MaxUnpool2D": lambda: zf.MaxUnpool2D("overwrite"),
}
CONSTRAINTS = {"FilterRMS": lambda: zf.FilterRMS(0.07)}
MODELS = {
    "ZFNet": lambda: zf.ZFNet(**SMALL, alignment="cuda-convnet", classifier_activation="softmax"),
    "AlexNet": lambda: zf.AlexNet(**SMALL, groups=2),
    "VGG": lambda: zf.VGG("A-LRN", **SMALL, dropout=0.2),
}
COVERED = LAYERS | CONSTRAINTS | MODELS


def is_keras_object(value):
    if inspect.isclass(value):
        return issubclass(value, keras.layers.Layer | keras.constraints.Constraint)
    return inspect.isfunction(value) and value.__name__[0].isupper()  # a net


def test_every_public_keras_object_is_covered():
    public = {name for name in zf.__all__ if is_keras_object(getattr(zf, name))}
    assert public == set(COVERED)


def as_model(name):
    """The object inside a model of (H, W, 3) images, with weights that are not trivial."""
    keras.utils.set_random_seed(2)
    if name in MODELS:
        model = MODELS[name]()
    else:
        x = inputs = keras.Input((12, 9, 3))
        if name == "MaxUnpool2D":
            x = LAYERS["MaxPoolWithArgmax2D"]()(x, return_switches=True)
            outputs = LAYERS[name]()(x, output_shape=(12, 9))
        else:
            outputs = LAYERS[name]()(x)
        model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(3)
    model.set_weights([w + rng.normal(scale=0.01, size=w.shape) for w in model.get_weights()])
    return model


def images(model, count):
    shape = model.input.shape[1:]
    return np.random.default_rng(count).uniform(0, 255, (count, *shape)).astype("float32")


@pytest.mark.parametrize("name", [*LAYERS, *CONSTRAINTS])
def test_config_round_trip(name):
    thing = COVERED[name]()
    config = thing.get_config()
    again = type(thing).from_config(config)
    assert again.get_config() == config
    for argument in inspect.signature(type(thing)).parameters:
        if argument != "kwargs":
            assert argument in config, f"{name}({argument}) is lost"
            assert getattr(again, argument) == getattr(thing, argument)


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
def test_keras_file_round_trip(name, tmp_path):
    model = as_model(name)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for count in (1, 3):
        np.testing.assert_array_equal(again(images(model, count)), model(images(model, count)))
    for layer, other in zip(model.layers, again.layers, strict=True):
        assert layer.get_config() == other.get_config()


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
def test_saved_model_round_trip(name, tmp_path):
    model = as_model(name)
    signature = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)
    module = tf.Module()
    module.model = model
    module.serve = tf.function(lambda x: model(x, training=False), input_signature=[signature])
    tf.saved_model.save(module, tmp_path)
    again = tf.saved_model.load(tmp_path)
    for count in (1, 3):
        expected = model(images(model, count))
        np.testing.assert_allclose(again.serve(images(model, count)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_stays_close(name, policy):
    expected = as_model(name)
    keras.config.set_dtype_policy(policy)
    try:
        model = as_model(name)
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(w.dtype == "float32" for w in model.weights)
    model.set_weights(expected.get_weights())
    x = np.round(images(model, 2))  # whole pixels: exact in 16 bits
    wide, narrow = expected(x).numpy(), tf.cast(model(x), "float32").numpy()
    tolerance = 0.005 if policy == "mixed_float16" else 0.04
    assert np.abs(narrow - wide).max() <= tolerance * np.abs(wide).max()


@pytest.mark.parametrize("name", MODELS)
def test_models_train_and_take_uint8(name):
    model = as_model(name)
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy())
    x = images(model, 6).astype("uint8")
    before = model.get_weights()
    history = model.fit(x, np.arange(6) % 4, batch_size=4, verbose=0)  # an odd last batch
    assert np.isfinite(history.history["loss"][0])
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [w.trainable for w in model.weights]
    np.testing.assert_allclose(model(x), model(x.astype("float32")))

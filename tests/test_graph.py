"""The graph walk: every kind of model, forward exactly as Keras runs it, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zfkeras.graph.walking import walk

import networks

L = keras.layers


def assert_runs_as(model, images=None, **tolerance):
    images = networks.images(model) if images is None else images
    graph = walk(model)
    values = tf.function(lambda x: graph.run(x), autograph=False)(images)
    expected = model(images, training=False)
    found = values[max(values)]
    np.testing.assert_allclose(found, expected, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))
    return graph


@pytest.mark.parametrize("name", networks.SMALL)
def test_forward_is_the_models_own(name):
    assert_runs_as(networks.SMALL[name][0]())


def test_nested_and_shared_names():
    graph = assert_runs_as(networks.nested())
    for name in ("backbone", "backbone/conv", "backbone/block", "backbone/block/conv", "block"):
        assert name in graph.names, name
    assert graph.find("pool") == graph.find("backbone") == graph.find("backbone/pool")
    with pytest.raises(ValueError, match="Several .* 'conv'.*backbone/conv, backbone/block/conv"):
        graph.find("conv")
    graph = assert_runs_as(networks.shared_layer())
    calls = [graph.find(name) for name in ("conv", "conv:1", "conv:2")]
    assert len(set(calls)) == 3
    values = graph.run(tf.constant(networks.images(networks.shared_layer())))
    assert np.abs(values[calls[0]] - values[calls[1]]).max() > 0.01


def test_reloaded(tmp_path):
    model = networks.nested(shared=False)  # Keras itself can't reload the shared one
    model.save(tmp_path / "m.keras")
    graph = assert_runs_as(keras.saving.load_model(tmp_path / "m.keras"))
    assert list(graph.names) == list(walk(model).names)


def test_operators_and_arguments():
    pixels = keras.Input((8, 7, 3))
    x = keras.ops.pad(pixels[:, 1:, ::-1] / 2.0 - 0.5, [(0, 0), (0, 1), (2, 0), (0, 0)])
    x = keras.ops.concatenate([x, keras.ops.relu(-x)], axis=-1)
    x = keras.ops.mean(x, axis=(1, 2), keepdims=True) * x
    assert_runs_as(keras.Model(pixels, x))


@pytest.mark.parametrize(
    "name", ["MobileNetV2", pytest.param("DenseNet121", marks=pytest.mark.slow)]
)
def test_keras_applications(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=4)
    graph = assert_runs_as(model, rtol=1e-3)
    assert len(graph.steps) > 100


def test_sequential_built_by_its_first_call():
    model = keras.Sequential([L.Conv2D(2, 3, name="conv"), L.Flatten()])
    images = np.ones((2, 6, 5, 3), "float32")
    model(images)
    assert next(iter(assert_runs_as(model, images).names)) == "conv"


def test_sub_model_between_layers_of_another():
    model = networks.chain()
    part = keras.Model(model.inputs[0], model.get_layer("conv2").output)
    graph = assert_runs_as(part)
    assert "conv3" not in graph.names


def test_training_time_layers_are_off():
    pixels = keras.Input((8, 7, 3))
    x = L.RandomFlip()(L.GaussianNoise(0.9)(pixels))
    model = keras.Model(pixels, L.Dropout(0.9)(x, training=True))
    images = networks.images(model)
    graph = walk(model)
    np.testing.assert_array_equal(graph.run(tf.constant(images))[len(graph.steps)], images)


def test_steps_to_leaves_out_what_is_not_needed():
    graph = walk(networks.squeezenet_like())
    needed = [step.path for step in graph.steps_to(graph.find("fire2_expand1"))]
    assert needed == ["conv1", "relu1", "pool1", "fire2_squeeze", "fire2_expand1"]


def test_no_node_is_added():
    model = networks.nested()
    layers = list(model._flatten_layers())
    before = [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in layers]
    graph = walk(model)
    tf.function(lambda x: graph.run(x))(networks.images(model))
    assert [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in layers] == before


class Own(keras.Model):
    def call(self, inputs):
        return inputs


class Trainer(keras.Model):
    def train_step(self, data):
        return {}


def test_functional_subclasses_walk():
    pixels = keras.Input((8, 7, 3))
    assert_runs_as(Trainer(pixels, L.Conv2D(2, 3)(pixels)))


def refused():
    pixels = keras.Input((8, 7, 3))
    inner = keras.Model(pixels, L.Conv2D(2, 3)(Own(name="inner")(pixels)))
    second = keras.Input((8, 7, 3))
    first = L.Conv2D(2, 3, data_format="channels_first", name="old")
    return {
        "subclassed": (Own(), "has its own `call`.*keras.Model\\(inputs, outputs\\).*Received"),
        "nested": (inner, "Model 'inner' has its own `call`"),
        "unbuilt": (keras.Sequential([L.Conv2D(2, 3)]), "no input yet.*keras.Input"),
        "two inputs": (keras.Model([pixels, second], pixels + second), "one batch of images.*8, 7"),
        "vectors": (keras.Sequential([keras.Input((5,)), L.Dense(2)]), r"one batch.*\(None, 5\)"),
        "channels first": (keras.Model(pixels, first(pixels)), "Layer 'old'.*channels_last"),
    }


@pytest.mark.parametrize("case", list(refused()))
def test_refuses(case):
    model, message = refused()[case]
    with pytest.raises(ValueError, match=message):
        walk(model)


def test_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="Functional or Sequential.*Received: model='vgg16'"):
        walk("vgg16")


def test_unknown_names():
    graph = walk(networks.chain())
    with pytest.raises(ValueError, match="Did you mean 'conv1'.*Its layers are conv1, pool1"):
        graph.find("cnv1")
    with pytest.raises(ValueError, match="of this name. Its layers"):
        graph.find("zzz")

"""What is kept of a model: found again, made anew where the model is another one, never leaked."""

import copy
import functools
import gc
import weakref

import keras
import numpy as np
import pytest

from zfkeras.graph.kept import Kept


def net():
    layers = [keras.layers.Conv2D(4, 3, activation="relu", name="conv"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((9, 8, 3)), *layers, keras.layers.Dense(5, name="head")])


class Counter:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return object()


def test_it_is_made_once_for_a_model_and_a_key():
    kept, make, model = Kept(), Counter(), net()
    first = kept.get(model, "a", make)
    assert kept.get(model, "a", make) is first
    assert kept.get(model, "b", make) is not first
    assert kept.get(net(), "a", make) is not first
    assert Kept().get(model, "a", make) is not first
    assert make.count == 4


def test_what_was_not_asked_for_of_late_goes():
    kept, make, model = Kept(most=2), Counter(), net()
    kept.get(model, "a", make), kept.get(model, "b", make), kept.get(model, "a", make)
    kept.get(model, "c", make)
    kept.get(model, "a", make)
    assert make.count == 3
    kept.get(model, "b", make)
    assert make.count == 4


def change_activation(model):
    model.get_layer("conv").activation = keras.activations.elu


def change_rate(model):
    model.get_layer("conv").strides = (2, 2)


def add_layer(model):
    model.add(keras.layers.Dense(2))


def enable_lora(model):
    model.get_layer("head").enable_lora(2)


@pytest.mark.parametrize("change", [change_activation, change_rate, add_layer, enable_lora])
def test_it_is_made_anew_for_a_changed_model(change):
    kept, make, model = Kept(), Counter(), net()
    first = kept.get(model, "a", make)
    change(model)
    assert kept.get(model, "a", make) is not first


def test_it_stays_through_training_and_predictions():
    kept, make, model = Kept(), Counter(), net()
    first = kept.get(model, "a", make)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.ones((4, 9, 8, 3)), np.zeros(4), verbose=0)
    model.predict(np.ones((4, 9, 8, 3)), verbose=0)
    assert kept.get(model, "a", make) is first


def test_it_goes_with_its_model():
    kept, model = Kept(), net()
    same = functools.partial(keras.Model, model.inputs, model.outputs)  # refers to its layers
    gone = weakref.ref(kept.get(model, "a", same))
    del model, same
    gc.collect()
    assert gone() is None


def test_the_model_is_saved_and_copied_without_it(tmp_path):
    kept, model = Kept(), net()
    kept.get(model, "a", lambda: [model, lambda: None])
    model.save(tmp_path / "net.keras")
    assert "_zfkeras_kept" not in vars(keras.models.load_model(tmp_path / "net.keras"))
    assert "_zfkeras_kept" not in vars(copy.deepcopy(model))
    assert "_zfkeras_kept" not in vars(keras.models.clone_model(model))

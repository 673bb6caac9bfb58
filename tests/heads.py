"""Nets with every kind of head, and what their outputs mean."""

import keras
import numpy as np
import tensorflow as tf

L, ops = keras.layers, keras.ops
SHAPE = (8, 6, 3)


def net(*tail):
    """A net of one convolution and whatever comes after it."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input(SHAPE)
    x = L.Conv2D(4, 3, activation="relu", name="conv")(L.Rescaling(1 / 255)(pixels))
    for layer in tail:
        x = layer(x)
    return keras.Model(pixels, x)


def flat(*tail):
    return lambda: net(L.Flatten(), *(make() for make in tail))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def predicted(model, images):
    return np.asarray(model.predict(images, verbose=0), np.float32)


def dense(units=3, activation=None, **options):
    return lambda: L.Dense(units, activation, **options)


@keras.saving.register_keras_serializable("test_heads")
class OwnDense(L.Dense):
    """Derived, with Dense's own `call`."""


class OwnCall(L.Layer):
    def call(self, x):
        return tf.nn.softmax(x)


PROBABILITIES = {  # what the model answers is to be left alone
    "softmax": flat(dense(3, "softmax")),
    "softmax layer": flat(dense(), L.Softmax),
    "softmax activation": flat(dense(), lambda: L.Activation("softmax")),
    "keras.ops.softmax": flat(dense(), lambda: ops.softmax),
    "tf.nn.softmax built in": flat(dense(3, tf.nn.softmax)),
    "softmax layer built in": flat(lambda: L.Dense(3, activation=L.Softmax())),
    "softmax, then reshaped": flat(
        dense(3, "softmax"), lambda: L.Reshape((1, 1, 3)), L.Flatten, lambda: L.Dropout(0.5)
    ),
    "softmax, then cast": flat(dense(3, "softmax"), lambda: lambda x: ops.cast(x, "float16")),
    "softmax, then clipped": flat(dense(3, "softmax"), lambda: lambda x: ops.clip(x, 1e-3, 1.0)),
    "softmax, then nothing": flat(dense(3, "softmax"), L.Identity, lambda: L.Activation("linear")),
    "softmax in half precision": flat(dense(3, "softmax", dtype="float16")),
    "softmax of one place": lambda: net(
        L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(3, 1, activation="softmax")
    ),
    "softmax everywhere, then mean": lambda: net(
        L.Conv2D(3, 1, activation="softmax"), L.GlobalAveragePooling2D()
    ),
    "sigmoids of two nets, averaged": flat(
        lambda: lambda x: L.Average()([L.Dense(3, "sigmoid")(x), L.Dense(3, "sigmoid")(x)])
    ),
    "sigmoids everywhere, then the largest": lambda: net(
        L.Conv2D(3, 1, activation="sigmoid"), L.GlobalMaxPooling2D()
    ),
    "softmax inside": flat(
        lambda: keras.Sequential([keras.Input((96,)), L.Dense(3, "softmax")], name="head")
    ),
    "two softmaxes, averaged": flat(
        lambda: lambda x: L.Average()([L.Dense(3, "softmax")(x), L.Dense(3, "softmax")(x)])
    ),
    "derived Dense with softmax": flat(lambda: OwnDense(3, "softmax")),
    "one sigmoid": flat(dense(1, "sigmoid")),
    "one hard sigmoid": flat(dense(1, "hard_sigmoid")),
    "many sigmoids": flat(dense(3, "sigmoid")),
    "sigmoid activation": flat(dense(), lambda: L.Activation("sigmoid")),
    "keras.ops.sigmoid": flat(dense(), lambda: ops.sigmoid),
    "sigmoid as a number": flat(dense(1, "sigmoid"), lambda: L.Reshape(())),
    "sigmoids, then joined": flat(
        lambda: lambda x: L.Concatenate()([L.Dense(1, "sigmoid")(x), L.Dense(2, "softmax")(x)])
    ),
}
LOGITS = {
    "logits": flat(dense()),
    "logits in half precision": flat(dense(3, dtype="float16")),
    "logits over a temperature": flat(dense(), lambda: lambda x: x / 2.5),
    "logits by a 1 x 1 convolution": lambda: net(L.Conv2D(3, 1), L.GlobalAveragePooling2D()),
    "logits of one place": lambda: net(L.GlobalMaxPooling2D(keepdims=True), L.Conv2D(3, 1)),
    "logits, then normalised": flat(dense(), L.BatchNormalization),
    "logarithms of probabilities": flat(dense(3, "log_softmax")),
    "sum of two": flat(lambda: lambda x: L.Dense(3)(x) + L.Dense(3)(x)),
}
SCORES = {
    "one logit or regression": flat(dense(1)),
    "one number": flat(dense(1), lambda: L.Reshape(())),
    "regression by tanh": flat(dense(2, "tanh")),
    "regression by ReLU": flat(dense(3, "relu")),
    "regression by ReLU layer": flat(dense(3), L.ReLU),
    "softplus": flat(dense(2), lambda: ops.softplus),
    "a function of one's own": flat(dense(3, lambda x: x * x)),
    "a sigmoid in percent": flat(dense(1, "sigmoid"), lambda: L.Rescaling(100.0)),
    "probabilities, centred": flat(dense(3, "sigmoid"), lambda: lambda x: x - 0.5),
    "sum of two softmaxes": flat(
        lambda: lambda x: L.Add()([L.Dense(3, "softmax")(x), L.Dense(3, "softmax")(x)])
    ),
    "logits, then clipped": flat(dense(), lambda: lambda x: ops.clip(x, -1.0, 1.0)),
    "probabilities, then normalised": flat(dense(3, "softmax"), L.BatchNormalization),
    "a softmax by hand": flat(
        dense(), lambda: lambda x: ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True)
    ),
}
ALL = {**PROBABILITIES, **LOGITS, **SCORES}


def right(name, outputs):
    """What a head of this name is to be read as."""
    outputs = outputs.reshape(len(outputs), -1)
    return softmax(outputs) if name in LOGITS else outputs

"""Independent deconvnet: TensorFlow's tape through the whole model, ReLUs with another gradient.

Shares no code with the package: it replaces `tf.nn.relu` and `tf.nn.relu6` while the model runs,
whichever way the model calls them, and lets the tape do the rest.
"""

import contextlib
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import zfkeras.ops


def _with_gradient(function, rule):
    @tf.custom_gradient
    def wrapped(x):
        y = function(x)

        def gradient(upstream):
            forward = tf.cast((y > 0) & ((y < 6) | (function is not tf.nn.relu6)), x.dtype)
            backward = tf.cast(upstream > 0, x.dtype)
            mask = {"deconvnet": backward, "guided": forward * backward, "gradient": forward}[rule]
            return upstream * mask

        return y, gradient

    return lambda features, name=None: wrapped(features)


def _straight_through(function):
    def wrapped(x, *args, **kwargs):
        @tf.custom_gradient
        def call(x):
            return function(x, *args, **kwargs), lambda upstream: upstream

        return call(x)

    return wrapped


@contextlib.contextmanager
def modified(rule):
    with contextlib.ExitStack() as stack:
        for name in ("relu", "relu6"):
            replaced = _with_gradient(getattr(tf.nn, name), rule)
            stack.enter_context(mock.patch.object(tf.nn, name, replaced))
        if rule != "gradient":
            name = "local_response_normalization"
            replaced = _straight_through(getattr(zfkeras.ops, name))
            stack.enter_context(mock.patch.object(zfkeras.ops, name, replaced))
        yield


def project(model, layer, images, channel, rule="deconvnet", position="max"):
    """Projection of one channel for each image: pixels, values, positions; eager, one at a time."""
    output = model.get_layer(layer).output if isinstance(layer, str) else layer
    part = keras.Model(model.inputs[0], output)
    pixels, values, positions = [], [], []
    for image in np.asarray(images, "float32"):
        with modified(rule), tf.GradientTape() as tape:
            x = tf.constant(image[None])
            tape.watch(x)
            y = part(x, training=False)
        maps = y.numpy()[0].reshape(*((1, 1) if len(y.shape) == 2 else ()), *y.shape[1:])
        wanted = maps[:, :, channel]
        place = np.unravel_index(wanted.argmax(), wanted.shape) if position == "max" else position
        seed = np.zeros_like(maps)
        if position == "all":
            seed[:, :, channel] = wanted
            place = np.unravel_index(wanted.argmax(), wanted.shape)
        else:
            seed[(*place, channel)] = wanted[place]
        gradient = tape.gradient(y, x, seed.reshape(y.shape))
        pixels.append(gradient.numpy()[0])
        values.append(wanted[place])
        positions.append(place)
    return np.stack(pixels), np.array(values), np.array(positions)

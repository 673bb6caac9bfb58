"""What an exported graph refuses, and in which words.

TensorFlow Serving checks no shapes, and some ops end the process when theirs is wrong, so the
first op on every input is an EnsureShape, and what else can be wrong meets an Assert.
"""

from collections.abc import Sequence

import tensorflow as tf

_VALUES_NAMED = 8


def require(condition: tf.Tensor, *message: object) -> tf.Operation:
    """An op that fails unless `condition`; tensors in the message are written out."""
    return tf.debugging.Assert(condition, [tf.strings.join([_text(part) for part in message])])


def _text(part: object) -> object:
    if isinstance(part, str):
        return part
    values = tf.reshape(part, [-1])[:_VALUES_NAMED]
    if values.dtype != tf.string:
        values = tf.strings.as_string(values, shortest=values.dtype.is_floating)
    return tf.strings.reduce_join(values, separator=", ")


def after(check: tf.Operation, tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, once the check has passed."""
    with tf.control_dependencies([check]):
        return tf.identity(tensor)


def pixels(value: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Checks [N, *shape] pixels."""
    value = tf.ensure_shape(value, (None, *shape))
    finite = tf.math.is_finite(value)
    check = require(
        tf.reduce_all(finite),
        "The pixels hold NaN or infinity. Expected finite numbers, 0..255. Received: pixels with ",
        tf.reduce_sum(1 - tf.cast(finite, tf.int32)),
        " such values",
    )
    return after(check, value)


def rows(count: tf.Tensor, **parameters: tf.Tensor) -> list[tf.Tensor]:
    """Checks that each parameter is [N], one value for each of `count` images."""
    checked = []
    for name, value in parameters.items():
        value = tf.ensure_shape(value, (None,))
        check = require(
            tf.equal(tf.size(value), count),
            f"There must be one {name} for each image, ",
            count,
            f". Received: {name} with ",
            tf.size(value),
            " values",
        )
        checked.append(after(check, value))
    return checked


def layer_ids(layer: tf.Tensor, layers: Sequence[str]) -> tf.Tensor:
    """The number of each layer name [N] in `layers`."""
    matches = tf.equal(layer[:, None], tf.constant(layers))
    known = tf.reduce_any(matches, axis=1)
    check = require(
        tf.reduce_all(known),
        f"The model offers no such layer. Expected one of {', '.join(layers)}. Received: layer=",
        tf.boolean_mask(layer, ~known),
    )
    return after(check, tf.argmax(matches, axis=1, output_type=tf.int32))


def channels(channel: tf.Tensor, depths: tf.Tensor) -> tf.Tensor:
    """Checks channels [N] against the number of feature maps [N] of the layers asked for."""
    good = (channel >= -1) & (channel < depths)
    check = require(
        tf.reduce_all(good),
        "The layer has no such channel. Expected -1 (the strongest) or at most ",
        tf.boolean_mask(depths, ~good) - 1,
        ". Received: channel=",
        tf.boolean_mask(channel, ~good),
    )
    return after(check, channel)


def within(name: str, value: tf.Tensor, low: int, high: int, unit: str) -> tf.Tensor:
    """Checks that all values [N] of a parameter lie in low..high, which NaN does not."""
    good = (value >= low) & (value <= high)
    check = require(
        tf.reduce_all(good),
        f"The {name} is out of range. Expected {low} to {high}, {unit}. Received: {name}=",
        tf.boolean_mask(value, ~good),
    )
    return after(check, value)

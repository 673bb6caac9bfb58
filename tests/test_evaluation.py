"""Top-k, plain and ten-crop, against loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zfkeras.data.inputs import input_size
from zfkeras.data.preprocess import ten_crop
from zfkeras.data.sources import from_arrays
from zfkeras.graph.heads import ends_in_softmax
from zfkeras.training.evaluation import (
    Classifier,
    Evaluation,
    evaluate,
)


def linear(outputs=7, activation=None, shape=(28, 21, 3)):
    """A classifier that looks at every pixel, so that crops matter."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input(shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 50)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs, activation=activation)(x))


@pytest.fixture
def source(rng):
    """32 x 24: covers 8/7 of 28 x 21, so that nothing is resized."""
    images = rng.integers(0, 256, (11, 32, 24, 3), dtype=np.uint8)
    return from_arrays(images, rng.integers(0, 7, 11), list("abcdefg"))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pixels(source):
    return np.stack([image.numpy() for image, _ in source.examples])


def test_plain_looks_at_the_centre(source):
    model = linear()
    result = evaluate(model, source, batch_size=4)
    crops = pixels(source)[:, 2:30, 1:22].astype(np.float32)
    np.testing.assert_allclose(result.probabilities, softmax(model(crops).numpy()), atol=1e-5)
    assert result.labels.tolist() == [int(label) for _, label in source.examples]


def test_ten_crop_is_the_mean_of_ten_softmaxes(source):
    model = linear()
    result = evaluate(model, source, ten_crop=True, batch_size=31)
    for image, probabilities in zip(pixels(source), result.probabilities, strict=True):
        crops = ten_crop(tf.constant(image, tf.float32), (28, 21))
        expected = softmax(model(crops).numpy()).mean(0)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert not np.allclose(result.probabilities, evaluate(model, source).probabilities)


def test_a_softmax_is_not_applied_twice(source):
    logits, probabilities = linear(), linear(activation="softmax")
    np.testing.assert_allclose(
        evaluate(logits, source).probabilities, evaluate(probabilities, source).probabilities,
        atol=1e-6,
    )  # fmt: skip


def test_ends_in_softmax():
    assert ends_in_softmax(linear(activation="softmax"))
    assert not ends_in_softmax(linear())
    assert not ends_in_softmax(linear(activation="sigmoid"))
    model = linear()
    for last in (keras.layers.Softmax(), keras.layers.Activation("softmax")):
        assert ends_in_softmax(keras.Model(model.inputs, last(model.output)))


def test_scale_changes_what_is_seen(source):
    model = linear()
    one = evaluate(model, source, scale=1.0).probabilities
    assert not np.allclose(one, evaluate(model, source).probabilities)


def test_batch_sizes_do_not_matter(source):
    model = linear()
    one = evaluate(model, source, batch_size=1).probabilities
    np.testing.assert_allclose(one, evaluate(model, source, batch_size=64).probabilities, atol=1e-6)


def test_top_k_against_sorting(rng):
    probabilities = softmax(rng.normal(size=(50, 9))).astype(np.float32)
    labels = rng.integers(0, 9, 50)
    result = Evaluation(probabilities, labels)
    for k in (1, 3, 5, 9, 20):
        hits = [label in sorted(range(9), key=lambda c: -row[c])[:k]
                for row, label in zip(probabilities, labels, strict=True)]  # fmt: skip
        assert result.top(k) == pytest.approx(np.mean(hits))
    assert result.accuracy == result.top(1)
    expected = -np.mean([np.log(p[c]) for p, c in zip(probabilities, labels, strict=True)])
    assert result.loss == pytest.approx(expected, rel=1e-5)


def test_a_net_that_says_nothing_gets_what_guessing_gets():
    result = Evaluation(np.full((8, 4), 0.25, np.float32), np.arange(8) % 4)
    assert (result.top(1), result.top(2), result.top(4)) == (0.25, 0.5, 1.0)


def test_a_classifier_is_traced_once(source):
    classify = Classifier(linear())
    for batch_size in (3, 5):
        classify(source, batch_size=batch_size)
    assert classify._classify.experimental_get_tracing_count() == 1


def test_refusals(source):
    with pytest.raises(ValueError, match="each of the 7 classes.*output_shape=\\(None, 6\\)"):
        evaluate(linear(6), source)
    with pytest.raises(ValueError, match="takes no images.*input_shape=\\(None, 5\\)"):
        input_size(keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]))
    model = linear()
    model.layers[-1].bias.assign([np.nan] + 6 * [0.0])
    with pytest.raises(ValueError, match="finite numbers. Received: nan or inf for 11 of 11"):
        evaluate(model, source)

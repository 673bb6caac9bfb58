"""Tensor functions against the loops of `references`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from zfkeras import ops

import references

POOLS = [
    ((2, 2), (2, 2)),
    ((3, 3), (2, 2)),
    ((3, 2), (1, 3)),
    ((2, 3), (4, 1)),  # steps longer than the window
]


def draw(rng, *shape):
    # Rounded, so that windows have ties.
    return rng.normal(size=shape).round(1).astype("float32")


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 7))
def test_ceil_padding_follows_the_definition(size, window, stride):
    before, after = ops.ceil_padding(size, window, stride)
    out, _ = references.pooled_size(size, window, stride, "ceil")
    assert before == 0
    assert max(0, (size + after - window) // stride + 1) == out


@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
@pytest.mark.parametrize(("window", "stride"), POOLS)
def test_pooling_equals_loops(rng, window, stride, padding):
    x = draw(rng, 2, 7, 10, 3)
    expected, switches = references.max_pool(x, window, stride, padding)
    np.testing.assert_array_equal(ops.max_pool(x, window, stride, padding), expected)
    values, found = ops.max_pool_with_argmax(x, window, stride, padding)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(found, switches)


@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
def test_pooling_with_unknown_sizes_equals_loops(rng, padding):
    pool = tf.function(
        lambda x: (
            ops.max_pool(x, (3, 3), (2, 2), padding),
            *ops.max_pool_with_argmax(x, (3, 3), (2, 2), padding),
        ),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    for height, width in ((8, 11), (9, 6)):
        x = draw(rng, 2, height, width, 3)
        expected, switches = references.max_pool(x, (3, 3), (2, 2), padding)
        fast, values, found = pool(x)
        np.testing.assert_array_equal(fast, expected)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(found, switches)


def test_switches_of_negative_maps_never_point_into_the_padding():
    """Padding must lose against every pixel, so it is -inf and not 0."""
    x = np.full((1, 4, 4, 1), -5.0, "float32")
    for padding in ("same", "ceil"):
        values, switches = ops.max_pool_with_argmax(x, (3, 3), (2, 2), padding)
        assert np.all(values.numpy() == -5)
        np.testing.assert_array_equal(switches[0, :, :, 0], [[0, 2], [8, 10]])


def test_ties_go_to_the_first_in_row_major_order():
    """Of equal maxima the first counts (method.md, Unpooling)."""
    _, switches = ops.max_pool_with_argmax(np.zeros((1, 6, 6, 1), "float32"), (3, 3), (3, 3))
    np.testing.assert_array_equal(switches[0, :, :, 0], [[0, 3], [18, 21]])


@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
def test_an_empty_batch_pools_to_an_empty_batch(padding):
    x = np.zeros((0, 7, 10, 3), "float32")
    values, switches = ops.max_pool_with_argmax(x, (3, 3), (2, 2), padding)
    assert values.shape == switches.shape == ops.max_pool(x, (3, 3), (2, 2), padding).shape
    assert ops.max_unpool(values, switches, (7, 10)).shape == x.shape


@pytest.mark.parametrize("overlap", ["sum", "overwrite"])
@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
@pytest.mark.parametrize(("window", "stride"), POOLS)
def test_unpooling_equals_loops(rng, window, stride, padding, overlap):
    x = draw(rng, 2, 7, 10, 3)
    pooled, switches = references.max_pool(x, window, stride, padding)
    values = draw(rng, *pooled.shape)
    np.testing.assert_allclose(
        ops.max_unpool(values, switches, (7, 10), overlap),
        references.max_unpool(values, switches, (7, 10), overlap),
        atol=1e-6,
    )


def test_unpooling_by_sum_is_the_adjoint_of_pooling(rng):
    """To the bit what TensorFlow's own gradient of max pooling gives."""
    x, upstream = draw(rng, 2, 9, 12, 5), draw(rng, 2, 4, 5, 5)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        y = tf.nn.max_pool2d(variable, 3, 2, "VALID")
    _, switches = ops.max_pool_with_argmax(x, (3, 3), (2, 2))
    np.testing.assert_array_equal(
        ops.max_unpool(upstream, switches, (9, 12)),
        tape.gradient(y, variable, output_gradients=upstream),
    )


def test_unpooling_keeps_every_maximum(rng):
    x = np.abs(draw(rng, 1, 8, 6, 3))
    pooled, switches = ops.max_pool_with_argmax(x, (2, 2), (2, 2))
    unpooled = ops.max_unpool(pooled, switches, (8, 6))
    np.testing.assert_array_equal(ops.max_pool(unpooled, (2, 2), (2, 2)), pooled)


@pytest.mark.parametrize("overlap", ["sum", "overwrite"])
def test_unpooling_is_differentiable(rng, overlap):
    """Its gradient, against the dense matrix of the loops."""
    x = draw(rng, 1, 5, 6, 2)
    pooled, switches = references.max_pool(x, (3, 3), (2, 2), "valid")
    upstream = draw(rng, 1, 5, 6, 2)
    dense = np.array(
        [
            references.max_unpool(one.reshape(pooled.shape), switches, (5, 6), overlap).ravel()
            for one in np.eye(pooled.size, dtype="float32")
        ]
    )
    with tf.GradientTape() as tape:
        values = tf.Variable(pooled)
        y = tf.reduce_sum(ops.max_unpool(values, switches, (5, 6), overlap) * upstream)
    np.testing.assert_allclose(
        tape.gradient(y, values).numpy().ravel(), dense @ upstream.ravel(), atol=1e-5
    )


def test_overwriting_is_deterministic(rng):
    x = draw(rng, 4, 31, 30, 8)
    values, switches = ops.max_pool_with_argmax(x, (3, 3), (1, 1))
    first = ops.max_unpool(values, switches, (31, 30), "overwrite")
    for _ in range(5):
        again = ops.max_unpool(values, switches, (31, 30), "overwrite")
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_unpooling_keeps_the_dtype(rng, dtype):
    x = tf.cast(draw(rng, 1, 5, 7, 2), dtype)
    values, switches = ops.max_pool_with_argmax(x, (2, 2), (2, 2), "ceil")
    unpooled = ops.max_unpool(values, switches, (5, 7))
    assert unpooled.dtype == x.dtype
    expected = references.max_unpool(
        *(np.asarray(tensor) for tensor in (tf.cast(values, "float64"), switches)), (5, 7), "sum"
    )
    np.testing.assert_array_equal(tf.cast(unpooled, "float64"), expected)


@pytest.mark.parametrize("switch", [-1, 30])
def test_a_switch_outside_the_map_is_an_error_not_an_abort(switch):
    values = np.ones((1, 1, 1, 1), "float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="must point into the output map"):
        ops.max_unpool(values, np.full((1, 1, 1, 1), switch), (5, 6))


def test_unknown_overlap_is_refused():
    values = np.ones((1, 1, 1, 1), "float32")
    with pytest.raises(ValueError, match="'sum' or 'overwrite'. Received: overlap='max'"):
        ops.max_unpool(values, np.zeros((1, 1, 1, 1), "int64"), (5, 6), "max")


@settings(deadline=None, max_examples=20)
@given(
    radius=st.integers(0, 4),
    bias=st.floats(0.5, 3),
    alpha=st.floats(0, 0.1),
    beta=st.sampled_from([0.75, 0.5, 1.0]),
)
def test_normalization_equals_loops(radius, bias, alpha, beta):
    x = np.random.default_rng(7).normal(size=(2, 3, 4, 6)).astype("float32") * 20
    np.testing.assert_allclose(
        ops.local_response_normalization(x, radius, bias, alpha, beta),
        references.local_response_normalization(x, radius, bias, alpha, beta),
        rtol=1e-5,
    )


def test_normalization_fixture_of_the_spec():
    """Numbers worked out by hand."""
    a = np.float32([10, 20, 30, 40, 50, 60])
    np.testing.assert_allclose(
        ops.local_response_normalization(a),
        [5.651837, 10.708635, 14.866754, 17.999542, 22.735027, 27.944183],
        atol=1e-4,
    )


def test_normalization_of_large_half_precision_values_does_not_overflow():
    x = np.full((1, 2, 3, 5), 1000, "float16")
    y = keras.ops.convert_to_numpy(ops.local_response_normalization(x))
    assert y.dtype == "float16"
    expected = references.local_response_normalization(x, 2, 2.0, 1e-4, 0.75)
    np.testing.assert_allclose(y, expected, rtol=2e-3)


def test_normalization_gradient_equals_finite_differences(rng):
    x = rng.normal(size=(1, 1, 2, 4)) * 30
    upstream = rng.normal(size=x.shape)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        y = ops.local_response_normalization(variable, alpha=1e-2)
    gradient = tape.gradient(y, variable, output_gradients=upstream).numpy()
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-5
        up, down = (
            references.local_response_normalization(x + sign * step, 2, 2.0, 1e-2, 0.75)
            for sign in (1, -1)
        )
        assert gradient[index] == pytest.approx(((up - down) / 2e-5 * upstream).sum(), rel=1e-5)

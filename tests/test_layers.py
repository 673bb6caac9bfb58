"""What the layers add to `ops`: arguments, serialisation details, errors, the adapted mean."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zfkeras.layers import (
    LocalResponseNormalization,
    MaxPoolWithArgmax2D,
    MaxUnpool2D,
    PixelMean,
)

import references


def test_pooling_layer_passes_its_arguments_on(rng):
    x = rng.normal(size=(2, 9, 12, 3)).astype("float32")
    for window, stride, padding in (((3, 2), (2, 1), "valid"), ((2, 3), (3, 2), "ceil")):
        layer = MaxPoolWithArgmax2D(window, stride, padding)
        values, switches = layer(x, return_switches=True)
        expected = references.max_pool(x, window, stride, padding)
        np.testing.assert_array_equal(values, expected[0])
        np.testing.assert_array_equal(switches, expected[1])
        np.testing.assert_array_equal(layer(x), expected[0])


def test_pooling_layer_strides_default_to_the_window():
    assert MaxPoolWithArgmax2D((3, 2)).strides == (3, 2)


def test_pooling_equals_keras_own_layer(rng):
    x = rng.normal(size=(2, 9, 12, 3)).astype("float32")
    for padding in ("valid", "same"):
        ours, theirs = (
            layer(3, 2, padding)(x) for layer in (MaxPoolWithArgmax2D, keras.layers.MaxPooling2D)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_recording_switches_turns_xla_off():
    """XLA has no kernel for it, and `fit` on one GPU would choose XLA by itself."""
    layer = MaxPoolWithArgmax2D()
    x = np.zeros((1, 4, 4, 1), "float32")
    layer(x)
    assert layer.supports_jit
    layer(x, return_switches=True)
    assert not layer.supports_jit


def test_switches_travel_through_a_functional_model_and_back(rng):
    inputs = keras.Input((9, 12, 3))
    pooled, switches = MaxPoolWithArgmax2D(3, 2)(inputs, return_switches=True)
    model = keras.Model(inputs, MaxUnpool2D()((pooled, switches), output_shape=(9, 12)))
    assert model.output.shape == (None, 9, 12, 3)
    x = rng.normal(size=(2, 9, 12, 3)).astype("float32")
    expected = references.max_unpool(
        *references.max_pool(x, (3, 3), (2, 2), "valid"), (9, 12), "sum"
    )
    np.testing.assert_allclose(model(x), expected, atol=1e-6)


def test_unpooling_layer_overlap_changes_the_result():
    values = np.float32([[[[1], [2]], [[3], [4]]]])
    switches = np.full((1, 2, 2, 1), 12)
    sums, last = (
        MaxUnpool2D(overlap)((values, switches), output_shape=(5, 5))
        for overlap in ("sum", "overwrite")
    )
    assert (float(sums[0, 2, 2, 0]), float(last[0, 2, 2, 0])) == (10, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxPoolWithArgmax2D(padding="full"), "one of .*'ceil'.*Received: padding='full'"),
        (lambda: MaxPoolWithArgmax2D(0), "positive int.*Received: pool_size=0"),
        (lambda: MaxPoolWithArgmax2D(3, (2, 2, 2)), "Received: strides=\\(2, 2, 2\\)"),
        (lambda: MaxUnpool2D("max"), "'sum' or 'overwrite'. Received: overlap='max'"),
        (lambda: PixelMean().build((None, None, 8, 3)), "fixed input size.*per_pixel=False"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_pooling_layer_refuses_a_wrong_rank():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        MaxPoolWithArgmax2D()(np.zeros((4, 4, 3), "float32"))


@pytest.mark.parametrize(
    "change",
    [
        {"depth_radius": 1},
        {"bias": 1.0},
        {"alpha": 1e-2},
        {"beta": 0.5},
        {"alpha_is_per_element": False},
    ],
)
def test_every_argument_of_the_normalization_matters(rng, change):
    x = rng.normal(size=(1, 3, 4, 7)).astype("float32") * 50
    arguments = {"depth_radius": 2, "bias": 2.0, "alpha": 1e-4, "beta": 0.75} | change
    layer = LocalResponseNormalization(**arguments)
    if not arguments.pop("alpha_is_per_element", True):
        arguments["alpha"] /= 5
    expected = references.local_response_normalization(x, **arguments)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5)
    assert np.abs(layer(x) - LocalResponseNormalization()(x)).max() > 1e-4


def test_normalization_fixture_of_cuda_convnet():
    """With alpha divided by the number of channels."""
    a = np.float32([10, 20, 30, 40, 50, 60])
    np.testing.assert_allclose(
        LocalResponseNormalization(alpha_is_per_element=False)(a[None])[0],
        [5.884357, 11.631335, 17.135998, 22.29552, 27.946354, 33.745586],
        atol=1e-4,
    )


@pytest.mark.parametrize("per_pixel", [True, False])
def test_the_mean_is_that_of_the_data(rng, per_pixel):
    images = rng.integers(0, 256, size=(7, 6, 5, 3), dtype="uint8")
    axes = 0 if per_pixel else (0, 1, 2)
    expected = images.astype("float32") - images.mean(axis=axes)
    labels = np.arange(7)
    for data in (
        images,
        tf.data.Dataset.from_tensor_slices(images).batch(3),
        tf.data.Dataset.from_tensor_slices((images, labels)).batch(2),
    ):
        layer = PixelMean(per_pixel=per_pixel)
        layer.adapt(data)
        np.testing.assert_allclose(layer(images), expected, atol=1e-4)


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        PixelMean().adapt(tf.data.Dataset.from_tensor_slices(np.zeros((0, 4, 4, 3))).batch(2))


def test_the_mean_of_other_images_is_an_error():
    layer = PixelMean()
    layer.build((None, 6, 5, 3))
    with pytest.raises(ValueError, match=r"\(6, 5, 3\). Received: images of shape \(5, 6, 3\)"):
        layer.adapt(np.zeros((2, 5, 6, 3)))


def test_the_mean_stays_exact_in_half_precision():
    layer = PixelMean(dtype="mixed_float16")
    layer.build((None, 2, 2, 3))
    layer.mean.assign(np.full((2, 2, 3), 127.3))
    y = layer(np.full((1, 2, 2, 3), 127.0, "float32"))
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, -0.3, atol=1e-3)

"""Each reverse rule alone: adjoint identities in float64, dense Jacobians, refusals, own rules."""

import keras
import modified_gradient
import numpy as np
import pytest
import tensorflow as tf

import zfkeras as zf
from zfkeras import ops
from zfkeras.deconvnet import rules
from zfkeras.deconvnet.adjoints import one_filter_adjoint, phase_adjoint, suits_phases
from zfkeras.graph.walking import walk
from zfkeras.regions.windows import Window, Windows

import networks

L = keras.layers
F64 = {"dtype": "float64"}


def conv(*args, **kwargs):
    return lambda: L.Conv2D(*args, bias_initializer="ones", **kwargs, **F64)


# Layers whose way down must be their transpose, on maps (N, 9, 8, 4).
AFFINE = {
    "conv": conv(3, (3, 2)),
    "conv strided": conv(3, (4, 3), (3, 2)),
    "conv same": conv(3, 3, 2, padding="same"),
    "conv same even": conv(3, (2, 4), (2, 3), padding="same"),
    "conv dilated": conv(3, 3, dilation_rate=(2, 1)),
    "conv grouped": conv(6, 3, groups=2, padding="same"),
    "conv stride over kernel": conv(3, 2, 3),
    "depthwise": lambda: L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, **F64),
    "depthwise dilated": lambda: L.DepthwiseConv2D(3, dilation_rate=2, **F64),
    "separable": lambda: L.SeparableConv2D(3, 3, 2, "same", depth_multiplier=2, **F64),
    "transposed": lambda: L.Conv2DTranspose(3, (3, 2), (2, 3), "same", **F64),
    "transposed valid": lambda: L.Conv2DTranspose(3, 4, 2, **F64),
    "dense": lambda: L.Dense(5, bias_initializer="ones", **F64),
    "average": lambda: L.AveragePooling2D(3, 2, "same", **F64),
    "global average": lambda: L.GlobalAveragePooling2D(**F64),
    "batch norm": lambda: L.BatchNormalization(**F64),
    "padding": lambda: L.ZeroPadding2D(((1, 2), (0, 3)), **F64),
    "cropping": lambda: L.Cropping2D(((1, 2), (0, 3)), **F64),
    "upsampling": lambda: L.UpSampling2D((2, 3), **F64),
    "upsampling smooth": lambda: L.UpSampling2D(2, interpolation="bilinear", **F64),
    "flatten": lambda: L.Flatten(**F64),
    "reshape": lambda: L.Reshape((4, 18, 4), **F64),
    "permute": lambda: L.Permute((2, 1, 3), **F64),
    "rescaling": lambda: L.Rescaling([1.0, 2, 3, 4], offset=0.3, **F64),
    "resizing": lambda: L.Resizing(5, 6, **F64),
    "dropout": lambda: L.Dropout(0.5, **F64),
    "flip": lambda: L.RandomFlip(**F64),
    "noise": lambda: L.GaussianNoise(0.5, **F64),
    "identity": lambda: L.Identity(**F64),
    "linear": lambda: L.Activation("linear", **F64),
}
OPERATORS = {
    "scale": lambda x: x / 2.0 - 0.5,
    "channels": lambda x: x[..., ::-1],
    "pad": lambda x: keras.ops.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)]),
    "mean": lambda x: keras.ops.mean(x, axis=(1, 2)),
    "sum of branches": lambda x: x[:, 1:] + 3.0 * x[:, :-1] - x[:, 1:],
    "concatenate": lambda x: keras.ops.concatenate([x, -x, x], axis=1),
    "transpose": lambda x: keras.ops.transpose(x, (0, 2, 1, 3)),
    "matmul": lambda x: keras.ops.matmul(x, np.arange(8.0).reshape(4, 2)),
    "split": lambda x: keras.ops.split(x, 4, axis=-1)[1] + 2.0,
    "split into towers": lambda x: _towers(x),
    "average pool": lambda x: keras.ops.average_pool(x, 3, 2, "same"),
}


def _towers(x):
    left, _, right = keras.ops.split(x, [1, 2], axis=-1)
    return keras.ops.concatenate([right, left, right], axis=-1)


def model_of(layer):
    maps = keras.Input((9, 8, 4), dtype="float64")
    model = keras.Model(maps, layer(maps))
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1, w.shape) for w in model.get_weights()])
    return model


def transpose_of(model, signal):
    """The way down through all of a model by the rules, from a dense signal."""
    graph = walk(model)
    signals = {graph.steps[-1].outputs[0]: tf.constant(signal)}
    blanks = {i: tf.zeros([0, *shape[1:]], tf.float64) for i, shape in enumerate(graph.shapes)}
    for step in reversed(graph.steps):
        got = [signals.pop(i, None) for i in step.outputs]
        zeros = [tf.zeros([len(signal), *graph.shapes[i][1:]], tf.float64) for i in step.outputs]
        got = [zero if x is None else x for x, zero in zip(got, zeros, strict=True)]
        down = got if len(got) > 1 else got[0]
        call = rules.Call(step, tuple(blanks[i] for i in step.inputs), blanks[step.outputs[0]])
        for rule in rules.rules_for(step, "deconvnet"):
            assert rule.reads == ()
            down = rule(call, down)
        for i, part in zip(step.inputs, down if isinstance(down, list) else [down], strict=True):
            signals[i] = signals.get(i, 0) + part
    return signals[0].numpy()


@pytest.mark.parametrize("name", [*AFFINE, *OPERATORS])
def test_affine_layers_go_down_by_their_transpose(name, rng):
    """<L x, y> = <x, transpose(L) y>, the layer's bias left out of L (method.md, Filtering)."""
    model = model_of(AFFINE[name]() if name in AFFINE else OPERATORS[name])
    x = rng.normal(size=(2, 9, 8, 4))
    up = model(x, training=False).numpy() - model(0 * x, training=False).numpy()
    y = rng.normal(size=up.shape)
    down = transpose_of(model, y)
    assert down.shape == x.shape
    assert np.abs(up).max() > 0.01
    tolerance = 1e-4 if name in ("resizing", "upsampling smooth", "matmul", "flip") else 1e-9
    np.testing.assert_allclose((up * y).sum(), (x * down).sum(), rtol=tolerance)


@pytest.mark.parametrize("name", ["conv same", "transposed", "average", "depthwise"])
def test_the_transpose_is_that_of_the_dense_matrix(name, rng):
    model = model_of(AFFINE[name]())
    basis = np.eye(9 * 8 * 4).reshape(-1, 9, 8, 4)
    zero = model(np.zeros((1, 9, 8, 4)), training=False).numpy()
    matrix = (model(basis, training=False).numpy() - zero).reshape(9 * 8 * 4, -1)
    y = rng.normal(size=zero.shape)
    np.testing.assert_allclose(
        transpose_of(model, y).reshape(-1), matrix @ y.reshape(-1), atol=1e-10
    )


CONVOLUTIONS = [
    ((13, 10), (7, 7), (2, 2), "valid"),
    ((14, 11), (3, 5), (1, 1), "same"),
    ((9, 12), (5, 4), (3, 2), "same"),
    ((12, 9), (2, 3), (2, 2), "same"),
    ((11, 13), (2, 2), (3, 3), "valid"),
    ((8, 7), (1, 1), (2, 2), "valid"),
]


def windows_over(size, window, strides, padding):
    axes = zip(size, window, strides, strict=True)
    return Windows(*(Window.sliding(*axis, padding) for axis in axes))


@pytest.mark.parametrize(("size", "window", "strides", "padding"), CONVOLUTIONS)
def test_fast_adjoints_equal_tensorflows(size, window, strides, padding, rng):
    kernel = rng.normal(size=(*window, 3, 5))
    windows = windows_over(size, window, strides, padding)
    shape = tf.nn.conv2d(np.zeros((2, *size, 3)), kernel, strides, padding.upper()).shape
    dense = rng.normal(size=shape)

    def expected(signal):
        return tf.nn.conv2d_transpose(signal, kernel, [2, *size, 3], strides, padding.upper())

    if strides[0] == strides[1] > 1:
        found = phase_adjoint(tf.constant(kernel), tf.constant(dense), windows, size)
        np.testing.assert_allclose(found, expected(dense), atol=1e-12)
    chosen = np.array([4, 1], "int32")
    maps = np.stack([dense[n, :, :, c] for n, c in enumerate(chosen)])
    sparse = maps[..., None] * np.eye(5)[chosen][:, None, None]
    found = one_filter_adjoint(tf.constant(kernel), tf.constant(maps), chosen, windows, size)
    np.testing.assert_allclose(found, expected(sparse), atol=1e-12)


def test_phases_are_used_where_they_pay():
    def strided(*strides):
        return windows_over((9, 9), (3, 3), strides, "same")

    assert suits_phases(strided(2, 2), depth=3)
    assert not suits_phases(strided(2, 2), depth=96)
    assert not suits_phases(strided(1, 1), depth=3)
    assert not suits_phases(strided(2, 1), depth=3)


@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
@pytest.mark.parametrize(
    ("window", "strides"), [((3, 3), (2, 2)), ((2, 3), (3, 1)), ((2, 2), (2, 2))]
)
def test_unpooling_equals_the_explicit_switches_to_the_bit(padding, window, strides, rng):
    """The tape of max pooling in one graph, against ops.max_pool_with_argmax and max_unpool.

    Whole numbers, since the two add the values of overlapping windows in different order.
    """
    x = np.maximum(rng.normal(size=(3, 13, 10, 5)), 0).round(1).astype("float32")  # with many ties
    values, switches = ops.max_pool_with_argmax(x, window, strides, padding)
    signal = rng.integers(-99, 99, values.shape).astype("float32")
    maps = keras.Input((13, 10, 5))
    (step,) = walk(keras.Model(maps, zf.MaxPoolWithArgmax2D(window, strides, padding)(maps))).steps

    @tf.function
    def unpool(x, signal):
        return rules.unpool(rules.Call(step, (x,), x), signal)[0]

    expected = ops.max_unpool(signal, switches, (13, 10))
    np.testing.assert_array_equal(unpool(x, signal), expected)


def test_global_max_pooling_takes_the_first_of_equals(rng):
    maps = keras.Input((4, 3, 2))
    model = keras.Model(maps, L.GlobalMaxPooling2D(name="top")(maps))
    x = np.zeros((1, 4, 3, 2), "float32")
    x[0, 1, 2, 0] = x[0, 3, 0, 0] = 5
    pixels = zf.DeconvNet(model).project(x, "top", [0]).pixels[0, 0]
    assert pixels[1, 2, 0] == 5
    assert np.count_nonzero(pixels) == 1


def squashed(**kwargs):
    pixels = keras.Input((9, 8, 3))
    x = L.Conv2D(4, 3, name="conv1", **kwargs)(pixels)
    return networks.randomize(keras.Model(pixels, L.Conv2D(5, 2, activation="relu", name="top")(x)))


def through(layer):
    pixels = keras.Input((9, 8, 3))
    x = layer(L.Conv2D(4, 3, name="conv1")(pixels))
    return networks.randomize(keras.Model(pixels, L.Conv2D(5, 2, activation="relu", name="top")(x)))


NONLINEAR = {
    "sigmoid": (lambda: squashed(activation="sigmoid"), "'conv1' has the activation sigmoid"),
    "gelu": (lambda: squashed(activation="gelu"), "'conv1' has the activation gelu"),
    "swish": (lambda: through(L.Activation("silu", name="act")), "'act' is of type silu"),
    "tanh": (lambda: through(L.Activation("tanh", name="act")), "'act' is of type tanh"),
    "leaky": (lambda: through(L.LeakyReLU(name="leaky")), "'leaky' is of type LeakyReLU"),
    "leaky relu": (
        lambda: through(L.ReLU(negative_slope=0.1, name="leaky")),
        "'leaky' is of type ReLU with negative_slope=0.1",
    ),
    "prelu": (lambda: through(L.PReLU(name="prelu")), "'prelu' is of type PReLU"),
    "operation": (lambda: through(keras.ops.gelu), r"'gelu\w*' is of type Gelu.*rules=\{'Gelu'"),
    "lambda": (lambda: through(L.Lambda(lambda x: x + 1, name="odd")), "'odd' is of type Lambda"),
    "layer norm": (lambda: through(L.LayerNormalization(name="ln")), "'ln' is of type LayerNorm"),
    "gate": (lambda: through(lambda x: x * x), r"'multiply\w*' is of type Multiply"),
    "gate layer": (
        lambda: through(lambda x: L.Multiply(name="gate")([x, x])),
        "'gate' is of type Multiply",
    ),
    "reciprocal": (lambda: through(lambda x: 1.0 / x), r"'true_divide\w*' is of type TrueDivide"),
    "reciprocal of an array": (
        lambda: through(lambda x: keras.ops.divide(np.ones((1, 7, 6, 4), "float32"), x)),
        r"'divide\w*' is of type Divide",
    ),
    "softmax": (
        lambda: through(L.Softmax(name="soft")),
        "'soft' is of type Softmax.*layer before the softmax",
    ),
}


@pytest.mark.parametrize("case", NONLINEAR)
def test_refuses_what_it_has_no_rule_for(case):
    build, message = NONLINEAR[case]
    model = build()
    for method in ("deconvnet", "guided"):
        with pytest.raises(
            ValueError, match=message + "(?s:.*)no reverse rule|" + message
        ) as error:
            zf.DeconvNet(model, rule=method).project(networks.images(model), "top")
        text = str(error.value)
        assert "no reverse rule" in text
        assert "allowed are" in text
        assert "Received: layer=" in text
        assert "softmax" in text or "rules=" in text


def test_other_layers_of_such_a_model_still_project():
    model = squashed(activation="sigmoid")
    deconv = zf.DeconvNet(model)
    assert deconv.project(networks.images(model), "conv1").pixels.any()


class Half(keras.layers.Layer):
    def call(self, x):
        return x * 0.5


class Standardized(keras.layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) * 2


class Plain(keras.layers.Conv2D):
    pass


def test_layers_that_override_a_known_one_are_not_taken_for_it():
    model = through(Standardized(4, 3, name="mine"))
    with pytest.raises(ValueError, match="'mine' is of type Standardized"):
        zf.DeconvNet(model).project(networks.images(model), "top")
    model = through(Plain(4, 3, name="mine"))
    images = networks.images(model)
    channel = zf.DeconvNet(model).project(images, "top", None).values.min(0).argmax()
    found = zf.DeconvNet(model).project(images, "top", [channel]).pixels[:, 0]
    expected, _, _ = modified_gradient.project(model, "top", images, channel)
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


class WeightStandardized(keras.layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel, axis=(0, 1, 2)))


def test_convolutions_with_an_operation_of_their_own():
    """Keras' documented way to change a convolution's filters; the fast adjoints don't know it."""
    pixels = keras.Input((9, 8, 3))
    first = WeightStandardized(4, 3, 2, activation="relu", name="conv1")(pixels)
    top = WeightStandardized(5, 2, activation="relu", name="top")(first)
    model = networks.randomize(keras.Model(pixels, top))
    images = networks.images(model)
    for layer in ("conv1", "top"):
        found = zf.DeconvNet(model).project(images, layer)
        expected, _, _ = modified_gradient.project(model, layer, images[:1], found.channels[0, 0])
        np.testing.assert_allclose(found.pixels[0], expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("build", "own", "same_as"),
    [
        (lambda: through(Half()), {Half: lambda _, signal: signal * 0.5}, lambda x: x * 0.5),
        (lambda: through(Half()), {Half: rules.adjoint}, lambda x: x * 0.5),
        (lambda: through(L.LeakyReLU(0.0)), {L.LeakyReLU: rules.rectify}, keras.ops.relu),
        (
            lambda: through(lambda x: keras.ops.leaky_relu(x, 0.0)),
            {"LeakyRelu": rules.rectify},
            keras.ops.relu,
        ),
        (
            lambda: through(L.Activation(keras.activations.leaky_relu)),
            {keras.activations.leaky_relu: rules.identity},
            None,
        ),
    ],
)
def test_own_rules(build, own, same_as):
    model = build()
    images = networks.images(model)
    deconv = zf.DeconvNet(model, rules=own)
    channel = deconv.project(images, "top", None).values.min(0).argmax()
    found = deconv.project(images, "top", [channel]).pixels
    assert found.any()
    if same_as is not None:
        other = through(same_as)
        other.set_weights(model.get_weights())
        expected = zf.DeconvNet(other).project(images, "top", [channel]).pixels
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_own_rules_go_first_and_see_the_call():
    model, seen = networks.chain(), []

    def mine(call, signal):
        seen.append((call.layer.name, call.inputs[0].shape, call.output.shape, signal.shape))
        return rules.unpool(call, signal)

    images = networks.images(model)
    own = {zf.MaxPoolWithArgmax2D: mine}
    found = zf.DeconvNet(model, rules=own).project(images, "norm1").pixels
    np.testing.assert_array_equal(found, zf.DeconvNet(model).project(images, "norm1").pixels)
    name, inputs, output, signal = seen[0]
    assert (name, inputs[1:], output[1:], signal[1:]) == (
        "pool1",
        (19, 17, 6),
        (9, 8, 6),
        (9, 8, 6),
    )


def test_gradient_rule_is_the_gradient_of_anything(rng):
    model = through(keras.ops.gelu)
    images = networks.images(model)
    found = zf.DeconvNet(model, rule="gradient").project(images, "top")
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
        picked = [y[n][(*found.positions[n, 0], found.channels[n, 0])] for n in range(2)]
        total = 0.5 * tf.add_n([value**2 for value in picked])  # gradient: value times d value
    np.testing.assert_allclose(found.pixels[:, 0], tape.gradient(total, x), rtol=1e-4, atol=1e-5)


def test_relu_with_a_ceiling_and_a_threshold():
    """The forward pass stays exact; the gate closes above the ceiling and below the threshold."""
    for layer in (L.ReLU(max_value=0.5, threshold=0.2), L.Activation("relu6")):
        model = through(layer)
        images = 8 * networks.images(model)
        for rule in ("deconvnet", "gradient"):
            found = zf.DeconvNet(model, rule=rule).project(images, "top")
            top = model.predict(images, verbose=0)
            np.testing.assert_allclose(found.values[:, 0], top.max((1, 2, 3)), rtol=1e-5)
        x = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_max(model(x), (1, 2, 3))
        expected = tape.gradient(y, x) * found.values[:, 0, None, None, None]
        np.testing.assert_allclose(found.pixels[:, 0], expected, rtol=1e-4, atol=1e-5)

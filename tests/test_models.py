"""Sizes, counts and wiring of the nets, against the numbers of the papers (method.md, The nets)."""

import dataclasses

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.models.alexnet import architecture as alexnet
from zfkeras.models.architecture import Architecture, Conv
from zfkeras.models.zfnet import ALIGNMENTS

import references

ZFNET = ALIGNMENTS["symmetric"]
IMAGENET = ((224, 224, 3), 1000)
ZFNET_MEAN = 224 * 224 * 3


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_zfnet_layer_by_layer(alignment):
    """Parameters and multiply-adds of each layer (method.md, The nets)."""
    rows = ALIGNMENTS[alignment].count(*IMAGENET)
    assert rows == [
        ("conv1", (110, 110, 96), 14_208, 170_755_200),
        ("conv2", (26, 26, 256), 614_656, 415_334_400),
        ("conv3", (13, 13, 384), 885_120, 149_520_384),
        ("conv4", (13, 13, 384), 1_327_488, 224_280_576),
        ("conv5", (13, 13, 256), 884_992, 149_520_384),
        ("fc6", (4096,), 37_752_832, 37_748_736),
        ("fc7", (4096,), 16_781_312, 16_777_216),
        ("logits", (1000,), 4_097_000, 4_096_000),
    ]


@pytest.mark.parametrize("size", [224, 227])
def test_alexnet_layer_by_layer(size):
    """At 224 with the last window over the edge and at 227 without padding."""
    expected = {
        "conv1": ((55, 55, 96), 34_944, 105_415_200, 34_944, 105_415_200),
        "conv2": ((27, 27, 256), 307_456, 223_948_800, 614_656, 447_897_600),
        "conv3": ((13, 13, 384), 885_120, 149_520_384, 885_120, 149_520_384),
        "conv4": ((13, 13, 384), 663_936, 112_140_288, 1_327_488, 224_280_576),
        "conv5": ((13, 13, 256), 442_624, 74_760_192, 884_992, 149_520_384),
        "fc6": ((4096,), 37_752_832, 37_748_736, 37_752_832, 37_748_736),
        "fc7": ((4096,), 16_781_312, 16_777_216, 16_781_312, 16_777_216),
        "logits": ((1000,), 4_097_000, 4_096_000, 4_097_000, 4_096_000),
    }
    grouped, dense = (alexnet(g).count((size, size, 3), 1000) for g in (2, 1))
    assert {
        row.name: (*row[1:], *other[2:]) for row, other in zip(grouped, dense, strict=True)
    } == (expected)


@pytest.mark.parametrize(
    ("architecture", "parameters", "macs"),
    [
        (ZFNET, 62_357_608, 1_168_032_896),
        (alexnet(2), 60_965_224, 724_406_816),
        (alexnet(1), 62_378_344, 1_135_256_096),
        (ZFNET.scaled(1, 2048), 28_848_232, 1_134_527_616),  # Z1
        (ZFNET.scaled(1, 8192), 154_542_184, 1_260_209_280),  # Z2
        (alexnet(2).scaled(1, 2048), 27_455_848, 690_901_536),  # R5
        (alexnet(1).scaled(1, 8192), 154_562_920, 1_227_432_480),  # R6
    ],
)
def test_totals(architecture, parameters, macs):
    assert architecture.parameters(*IMAGENET) == parameters
    assert architecture.macs(*IMAGENET) == macs


@pytest.mark.parametrize(
    ("classes", "parameters"),
    [(10, 58_301_578), (20, 58_342_548), (102, 58_678_502), (257, 59_313_537)],
)
def test_zfnet_with_other_heads(classes, parameters):
    assert ZFNET.parameters((224, 224, 3), classes) == parameters


def test_wider_middle_layers_are_an_edit_of_the_data():
    """The paper's larger net, of 512, 1024 and 512 maps."""
    wide = {3: 512, 4: 1024, 5: 512}
    convs = tuple(dataclasses.replace(c, filters=wide.get(c.index, c.filters)) for c in ZFNET.convs)
    b = dataclasses.replace(ZFNET, convs=convs)
    assert (b.parameters(*IMAGENET), b.macs(*IMAGENET)) == (107_627_624, 2_476_704_896)


def test_rounding_down_everywhere_is_not_the_papers_net():
    """Without ceil mode fc6 would see 6400 inputs, not 9216."""
    sizes = [224]
    for window, stride in ((7, 2), (3, 2), (5, 2), (3, 2)):
        sizes.append((sizes[-1] - window) // stride + 1)
    assert sizes == [224, 109, 54, 25, 12]
    assert ZFNET.count(*IMAGENET)[5].macs == 9216 * 4096


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_built_zfnet_has_the_sizes_of_fig_3(alignment):
    model = zf.ZFNet(alignment=alignment)
    sizes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    widths = [sizes[n][0] for n in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5")]
    assert widths == [110, 55, 26, 13, 13, 13, 13]
    assert sizes["pool5"] == (6, 6, 256)
    assert (sizes["fc6"], sizes["fc7"], sizes["logits"]) == ((4096,), (4096,), (1000,))
    assert [layer.name for layer in model.layers] == [
        "pixels", "mean", "conv1_pad", "conv1", "pool1", "norm1", "conv2", "pool2", "norm2",
        "conv3", "conv4", "conv5", "pool5", "flatten", "fc6", "drop6", "fc7", "drop7", "logits",
    ]  # fmt: skip
    assert model.count_params() == 62_357_608 + ZFNET_MEAN


@pytest.mark.parametrize("groups", [1, 2])
def test_built_alexnet(groups):
    model = zf.AlexNet(classes=11, width=0.25, groups=groups, input_shape=(227, 224, 3))
    names = [layer.name for layer in model.layers]
    assert names[:6] == ["pixels", "mean", "conv1_pad", "conv1", "norm1", "pool1"]
    assert model.get_layer("pool5").output.shape == (None, 6, 6, 64)
    expected = alexnet(groups).scaled(0.25).parameters((227, 224, 3), 11)
    assert model.count_params() == expected + 227 * 224 * 3


@pytest.mark.parametrize("width", [0.03, 0.3, 1.1])
@pytest.mark.parametrize("shape", [(64, 64, 3), (96, 131, 3), (128, 75, 3)])
def test_counts_equal_built_models(width, shape):
    for make, architecture in (
        (lambda **k: zf.ZFNet(**k), ZFNET),
        (lambda **k: zf.ZFNet(alignment="cuda-convnet", **k), ALIGNMENTS["cuda-convnet"]),
        (lambda **k: zf.AlexNet(**k), alexnet(2)),
    ):
        model = make(classes=7, input_shape=shape, width=width, fc_units=20)
        scaled = architecture.scaled(width, 20)
        assert model.count_params() == scaled.parameters(shape, 7) + np.prod(shape)
        for row in scaled.count(shape, 7):
            assert model.get_layer(row.name).output.shape[1:] == row.output_shape


def test_the_alignments_differ_by_one_pixel(rng):
    """The cuda-convnet net sees at x what the symmetric one sees one pixel before."""
    image = rng.uniform(0, 255, size=(1, 65, 66, 3)).astype("float32")
    nets = [
        zf.ZFNet(alignment=a, include_top=False, input_shape=(64, 65, 3), width=0.1)
        for a in ("symmetric", "cuda-convnet")
    ]
    nets[1].set_weights(nets[0].get_weights())
    features = [keras.Model(net.input, net.get_layer("pool1").output) for net in nets]
    symmetric = features[0](image[:, 1:, 1:]).numpy()
    shifted = features[1](image[:, :-1, :-1]).numpy()
    np.testing.assert_allclose(symmetric[:, 1:-1, 1:-1], shifted[:, 1:-1, 1:-1], atol=1e-3)
    assert np.abs(symmetric - features[1](image[:, 1:, 1:])).max() > 1


def test_the_first_layer_against_loops(rng):
    """Mean, padding, filters, rectification, ceil pooling, then normalisation, by hand."""
    model = zf.ZFNet(classes=4, input_shape=(25, 32, 3), width=0.04, fc_units=3)
    model.get_layer("mean").mean.assign(rng.uniform(0, 255, size=(25, 32, 3)))
    model.get_layer("conv1").bias.assign(rng.normal(size=4))
    images = rng.integers(0, 256, size=(2, 25, 32, 3), dtype="uint8")
    kernel, bias = (w.numpy().astype("float64") for w in model.get_layer("conv1").weights)
    x = np.pad(images - model.get_layer("mean").mean.numpy(), [(0, 0), (1, 1), (1, 1), (0, 0)])
    rows, columns = (25 + 2 - 7) // 2 + 1, (32 + 2 - 7) // 2 + 1
    maps = np.empty((2, rows, columns, 4))
    for i, j in np.ndindex(rows, columns):
        window = x[:, 2 * i : 2 * i + 7, 2 * j : 2 * j + 7]
        maps[:, i, j] = np.einsum("nhwc,hwcf->nf", window, kernel) + bias
    maps = np.maximum(maps, 0)
    pooled, _ = references.max_pool(maps, (3, 3), (2, 2), "ceil")
    normed = references.local_response_normalization(pooled, 2, 2.0, 1e-4, 0.75)
    for name, expected in (("conv1", maps), ("pool1", pooled), ("norm1", normed)):
        layer = keras.Model(model.input, model.get_layer(name).output)
        np.testing.assert_allclose(layer(images), expected, rtol=1e-3, atol=1e-3)


def test_grouped_convolution_is_two_halves_side_by_side(rng):
    """Two groups are two convolutions, of half of the maps each."""
    model = zf.AlexNet(classes=3, input_shape=(80, 64, 3), width=0.1, fc_units=4)
    conv = model.get_layer("conv2")
    x = rng.normal(size=(1, *conv.input.shape[1:])).astype("float32")
    kernel, bias = (w.numpy() for w in conv.weights)
    half_in, half_out = x.shape[-1] // 2, kernel.shape[-1] // 2
    assert kernel.shape[2] == half_in
    halves = [
        keras.ops.conv(x[..., i * half_in : (i + 1) * half_in], part, padding="same")
        for i, part in enumerate((kernel[..., :half_out], kernel[..., half_out:]))
    ]
    expected = np.maximum(np.concatenate(halves, -1) + bias, 0)
    np.testing.assert_allclose(conv(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ZFNet", "AlexNet"])
def test_the_papers_initial_weights(name):
    """N(0, 0.01²) everywhere; Krizhevsky's biases of one."""
    model = getattr(zf, name)(5, (64, 64, 3), 0.5, fc_units=256, kernel_initializer="paper")
    for layer in model.layers:
        if layer.name.startswith(("conv", "fc")) and layer.weights:
            kernel, bias = (w.numpy() for w in layer.weights)
            assert kernel.std() == pytest.approx(0.01, rel=3 / np.sqrt(2 * kernel.size))
            ones = name == "AlexNet" and layer.name not in ("conv1", "conv3", "logits")
            np.testing.assert_array_equal(bias, float(ones))


def test_our_initial_weights_keep_the_signal_alive(rng):
    """The reason not to use the paper's 0.01 in narrow nets."""
    images = rng.uniform(0, 255, size=(4, 96, 96, 3)) - 127
    arguments = {"classes": 10, "input_shape": (96, 96, 3), "width": 0.25}
    ours, papers = (
        np.std(zf.ZFNet(**arguments, kernel_initializer=i)(images)) for i in (None, "paper")
    )
    assert ours > 0.05
    assert papers < 0.001


def test_every_argument_matters():
    base = {"classes": 4, "input_shape": (64, 48, 3), "width": 0.05, "fc_units": 6}
    model = zf.ZFNet(**base, dropout=0.3, classifier_activation="softmax", name="mine")
    assert model.name == "mine"
    assert model.layers[-1].name == "predictions"
    assert model.layers[-2].name == "logits"
    assert model.get_layer("drop7").rate == 0.3
    assert model.get_layer("conv5").kernel_constraint.radius == 0.1
    assert zf.ZFNet(**base, max_filter_rms=None).get_layer("conv1").kernel_constraint is None
    assert zf.ZFNet(**base, max_filter_rms=0.2).get_layer("conv1").kernel_constraint.radius == 0.2
    ones = zf.ZFNet(**base, kernel_initializer="ones").get_layer("fc6").kernel
    np.testing.assert_array_equal(ones, np.ones(ones.shape))


def test_without_top_the_input_size_may_be_unknown():
    model = zf.ZFNet(include_top=False, input_shape=(None, None, 3), width=0.05)
    for height, width in ((64, 80), (97, 71)):
        expected = zf.ZFNet(include_top=False, input_shape=(height, width, 3), width=0.05)
        output = model(np.zeros((1, height, width, 3)))
        assert output.shape[1:] == expected.output.shape[1:]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zf.ZFNet(input_shape=(16, 224, 3)), "too small.*conv2 would be 0x26.*Received"),
        (lambda: zf.ZFNet(width=0), "`width` must be > 0. Received: width=0"),
        (lambda: zf.ZFNet(alignment="left"), "one of .*cuda-convnet.*Received: alignment='left'"),
        (lambda: zf.AlexNet(groups=3), "`groups` must be 1 or 2. Received: groups=3"),
        (lambda: zf.ZFNet(input_shape=(None, None, 3)), "fixed input size.*include_top=False"),
        (
            lambda: zf.AlexNet(include_top=False, input_shape=(None, None, 3)),
            "depends on the input size.*Received: input_shape",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_architecture_of_ones_own():
    mine = Architecture((Conv(1, 8, 5, strides=2), Conv(2, 6, 3, padding=1)), fc_units=(9,))
    model = mine.build(input_shape=(31, 40, 3), classes=2, name="mine")
    assert [layer.name for layer in model.layers][2:] == [
        "conv1", "conv2", "flatten", "fc6", "drop6", "logits",
    ]  # fmt: skip
    assert model.count_params() - 31 * 40 * 3 == mine.parameters((31, 40, 3), 2)

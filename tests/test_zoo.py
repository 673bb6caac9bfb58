"""VGG and the variants of Table 3, against the papers' counts and nets of plain Keras and NumPy."""

import keras
import numpy as np
import pytest
from tiers import first_by_default

import zfkeras as zf
from zfkeras.models.names import VARIANTS
from zfkeras.models.vgg import VGG_CONFIGURATIONS

IMAGENET_VGG = {  # parameters, multiply-adds
    "A": (132_863_336, 7_609_090_048),
    "A-LRN": (132_863_336, 7_609_090_048),
    "B": (133_047_848, 11_308_466_176),
    "C": (133_638_952, 11_770_888_192),
    "D": (138_357_544, 15_470_264_320),
    "E": (143_667_240, 19_632_062_464),
    "5x5": (134_503_528, 9_356_017_664),
}
LOW, HIGH, WIDE = (
    "layers 6,7: 2048 units",
    "layers 6,7: 8192 units",
    "layers 3,4,5: 512,1024,512 maps",
)
TABLE_3 = {  # the rows of ZF's Table 3: parameters and multiply-adds
    ("alexnet", "layers 3,4 removed", 2): (59_268_712, 437_826_080),
    ("alexnet", "layer 7 removed", 2): (44_183_912, 707_629_600),
    ("alexnet", "layers 6,7 removed", 2): (11_551_080, 675_000_864),
    ("alexnet", "layers 3,4,6,7 removed", 2): (9_854_568, 388_420_128),
    ("alexnet", LOW, 2): (27_455_848, 690_901_536),
    ("alexnet", HIGH, 2): (153_149_800, 816_583_200),
    ("alexnet", "layers 3,4 removed", 1): (59_870_824, 711_615_008),
    ("alexnet", "layer 7 removed", 1): (45_597_032, 1_118_478_880),
    ("alexnet", "layers 6,7 removed", 1): (12_964_200, 1_085_850_144),
    ("alexnet", "layers 3,4,6,7 removed", 1): (10_456_680, 662_209_056),
    ("alexnet", LOW, 1): (28_868_968, 1_101_750_816),
    ("alexnet", HIGH, 1): (154_562_920, 1_227_432_480),
    ("zfnet", LOW, None): (28_848_232, 1_134_527_616),
    ("zfnet", HIGH, None): (154_542_184, 1_260_209_280),
    ("zfnet", WIDE, None): (107_627_624, 2_476_704_896),
    ("zfnet", f"{HIGH}, {WIDE}", None): (237_560_936, 2_606_630_016),
}


def counted(model):
    """Parameters and multiply-adds of a built net, from its layers' shapes alone."""
    parameters = macs = 0
    for layer in model.layers:
        if layer.weights and not isinstance(layer, zf.PixelMean):
            if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
                places = np.prod(layer.output.shape[1:-1], dtype=int)
                parameters += layer.count_params()
                macs += int(places * np.prod(layer.kernel.shape))
    return parameters, macs


def empty(make, *arguments, **options):
    """A net without random numbers, which take their time."""
    return make(*arguments, kernel_initializer="zeros", **options)


@pytest.mark.parametrize("name", first_by_default(IMAGENET_VGG))
def test_vgg_has_the_papers_counts(name):
    assert counted(empty(zf.VGG, name)) == IMAGENET_VGG[name]
    millions = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144, "5x5": 135}
    assert round(IMAGENET_VGG[name][0] / 1e6) == millions[name]


@pytest.mark.parametrize("row", first_by_default(TABLE_3))
def test_variants_have_the_papers_counts(row):
    net, edit, groups = row
    assert counted(empty(zf.variant, net, edit, groups=groups)) == TABLE_3[row]


def test_every_name_has_its_row():
    assert set(IMAGENET_VGG) == set(VGG_CONFIGURATIONS)
    rows = {(net, edit) for net, edits in VARIANTS.items() for edit in edits}
    assert {row[:2] for row in TABLE_3} <= rows
    assert zf.variants("zfnet") == tuple(VARIANTS["zfnet"])


@pytest.mark.parametrize("name", VGG_CONFIGURATIONS)
def test_vgg_computes_what_plain_keras_does(name, rng):
    """Built anew from the table, layer by layer, with the same weights."""
    shape = (37, 66, 3)
    model = zf.VGG(name, classes=5, input_shape=shape, width=0.05, fc_units=7)
    model.set_weights([rng.normal(size=w.shape, scale=0.3) for w in model.get_weights()])
    images = rng.uniform(0, 255, (2, *shape)).astype("float32")
    weights = iter(model.get_weights())
    x = images - next(weights)
    for block in {
        "A": "3 3 33 33 33", "A-LRN": "3n 3 33 33 33", "B": "33 33 33 33 33",
        "C": "33 33 331 331 331", "D": "33 33 333 333 333", "E": "33 33 3333 3333 3333",
        "5x5": "5 5 5 5 5",
    }[name].split():  # fmt: skip
        for layer in block:
            if layer == "n":
                x = keras.ops.convert_to_numpy(x)
                squares = np.pad(x**2, [(0, 0)] * 3 + [(2, 2)])
                window = sum(squares[..., i : i + x.shape[-1]] for i in range(5))
                x = x / (2 + 1e-4 * window) ** 0.75
                continue
            kernel, bias = next(weights), next(weights)
            assert kernel.shape[:2] == (int(layer),) * 2
            x = keras.ops.relu(keras.ops.conv(x, kernel, padding="same") + bias)
        x = keras.ops.max_pool(x, 2, 2)
    x = np.reshape(x, (2, -1))
    for last in (False, False, True):
        x = x @ next(weights) + next(weights)
        x = x if last else np.maximum(x, 0)
    np.testing.assert_allclose(model(images), x, rtol=1e-3, atol=1e-3 * np.abs(x).max())


def test_deeper_nets_start_from_the_shallow_one():
    """Simonyan & Zisserman, Section 3.1: four convolutional layers and the dense ones."""
    base = {"classes": 3, "input_shape": (40, 48, 3), "width": 0.05, "fc_units": 6}
    shallow = zf.VGG("A", **base)
    deep = zf.VGG("E", **base, start_from=shallow)
    copied = {"conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "logits"}
    for layer in deep.layers:
        if layer.name.startswith(("conv", "fc", "logits")):
            same = layer.name in {one.name for one in shallow.layers} and np.array_equal(
                layer.kernel, shallow.get_layer(layer.name).kernel
            )
            assert same == (layer.name in copied), layer.name


def test_vggs_arguments():
    base = {"classes": 3, "input_shape": (40, 48, 3), "width": 0.25, "fc_units": 6}
    net = zf.VGG("A-LRN", **base, classifier_activation="softmax", dropout=0.2)
    assert [layer.name for layer in net.layers][:5] == [
        "pixels", "mean", "conv1_1", "norm1", "pool1",
    ]  # fmt: skip
    assert (net.name, net.layers[-1].name) == ("vgg_a_lrn", "predictions")
    assert net.get_layer("drop6").rate == 0.2
    assert net.get_layer("mean").mean.shape == (3,)
    papers = zf.VGG("B", **base, kernel_initializer="paper").get_layer("conv4_2").kernel.numpy()
    assert papers.std() == pytest.approx(0.1, rel=0.02)
    glorot = zf.VGG("B", **base).get_layer("conv4_2").kernel.numpy()
    assert np.abs(glorot).max() <= np.sqrt(6 / (9 * 2 * 128))
    trunk = zf.VGG("C", include_top=False, input_shape=(None, None, 3), width=0.05)
    assert trunk(np.zeros((1, 70, 97, 3))).shape[1:3] == (2, 3)


def test_variants_compute_in_the_layers_that_stay(rng):
    """Layers left out: what stays is fed by what stays, and scaled."""
    base = {"classes": 4, "input_shape": (96, 80, 3), "width": 0.1}
    model = zf.variant("zfnet", "layers 3,4,6,7 removed", **base)
    assert [n.name for n in model.layers if n.weights] == [
        "mean", "conv1", "conv2", "conv5", "logits",
    ]  # fmt: skip
    images = rng.uniform(0, 255, (2, 96, 80, 3))
    below = keras.Model(model.input, model.get_layer("norm2").output)(images)
    kernel, bias = model.get_layer("conv5").get_weights()
    expected = keras.ops.relu(keras.ops.conv(below, kernel, padding="same") + bias)
    found = keras.Model(model.input, model.get_layer("conv5").output)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    units = zf.variant("alexnet", HIGH, **base).get_layer("fc7").units
    assert units == 819


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zf.VGG("F"), "must be one of A, A-LRN, B, C, D, E, 5x5. Received: .*'F'"),
        (lambda: zf.VGG("A", input_shape=(31, 64, 3)), "too small: the maps .* Received"),
        (
            lambda: zf.VGG("B", 3, (40, 40, 3), 0.1, start_from=zf.VGG("A", 4, (40, 40, 3), 0.1)),
            "doesn't fit this net at logits.*Expected.*Received: start_from='vgg_a'",
        ),
        (lambda: zf.variant("vgg", "x"), "one of alexnet, zfnet. Received: net='vgg'"),
        (lambda: zf.variant("zfnet", "x"), "no such variant.*'layers 3,4 removed'.*edit='x'"),
        (lambda: zf.variant("zfnet", LOW, groups=2), "must be 1 or 2, of an AlexNet. Received"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_make_the_net_again(tmp_path):
    from zfkeras.models.weights import save_weights

    arguments = {"classes": 3, "input_shape": (40, 48, 3), "width": 0.05}
    model = zf.VGG("A", **arguments, fc_units=5)
    file = tmp_path / "a.npz"
    save_weights(model, file, {"model": "VGG-A", **arguments, "fc_units": 5}, ["a", "b", "c"])
    assert zf.VGG("A", weights=str(file)).output_shape == (None, 3)
    with pytest.raises(ValueError, match="those of a VGG-B.*of a VGG-A"):
        zf.VGG("B", weights=str(file))

"""Every public layer of Keras, and what each user of the layer table does with it.

R: it has a reverse rule (of the deconvnet's own). F: its receptive field is known. C: units above
it are projected on crops. O: occlusion recomputes only what changes over it. What a letter is
missing for raises an error that says so (R, F), or is computed on whole images (C, O).
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import zfkeras as zf
from zfkeras.analysis.incremental.sweep import Sweep
from zfkeras.analysis.painting import centres
from zfkeras.deconvnet.rules import rules_for
from zfkeras.graph.kinds import UNKNOWN, Role
from zfkeras.graph.layer_kinds import kind_of, layer_kind, windows_of
from zfkeras.graph.walking import walk

import networks

# Between a convolution's maps (14, 11, 4) and another convolution.
ON_MAPS = {
    "Activation": (lambda: L.Activation("relu"), "RFCO"),
    "ActivityRegularization": (L.ActivityRegularization, "RFCO"),
    "AdaptiveAveragePooling2D": (lambda: L.AdaptiveAveragePooling2D((7, 5)), "R"),
    "AdaptiveMaxPooling2D": (lambda: L.AdaptiveMaxPooling2D((7, 5)), ""),
    "AlphaDropout": (lambda: L.AlphaDropout(0.3), "RFCO"),
    "AveragePooling2D": (lambda: L.AveragePooling2D((3, 2), 2, "same"), "RFCO"),
    "BatchNormalization": (L.BatchNormalization, "RFCO"),
    "CenterCrop": (lambda: L.CenterCrop(9, 8), "RFCO"),
    "Conv2D": (lambda: L.Conv2D(5, (3, 2), (2, 1), activation="relu"), "RFCO"),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(5, 3, 2), "RF"),
    "Cropping2D": (lambda: L.Cropping2D(((1, 2), (0, 1))), "RFCO"),
    "Dense": (lambda: L.Dense(5, "relu"), "RFCO"),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, 2), "RFCO"),
    "Dropout": (lambda: L.Dropout(0.3), "RFCO"),
    "ELU": (L.ELU, "FO"),
    "EinsumDense": (lambda: L.EinsumDense("abcd,de->abce", (14, 11, 5)), "R"),
    "GaussianDropout": (lambda: L.GaussianDropout(0.3), "RFCO"),
    "GaussianNoise": (lambda: L.GaussianNoise(0.3), "RFCO"),
    "GroupNormalization": (lambda: L.GroupNormalization(2), ""),
    "Identity": (L.Identity, "RFCO"),
    "Lambda": (lambda: L.Lambda(lambda x: 2 * x, lambda shape: shape), ""),
    "LayerNormalization": (L.LayerNormalization, "FO"),
    "LeakyReLU": (L.LeakyReLU, "FO"),
    "MaxPooling2D": (lambda: L.MaxPooling2D((3, 2), 2, "same"), "RFCO"),
    "Normalization": (lambda: L.Normalization(mean=[1, 2, 3, 4], variance=[4, 3, 2, 1]), "RFCO"),
    "PReLU": (lambda: L.PReLU("ones", shared_axes=[1, 2]), "FO"),
    "Permute": (lambda: L.Permute((2, 1, 3)), "R"),
    "RMSNormalization": (L.RMSNormalization, "FO"),
    "ReLU": (L.ReLU, "RFCO"),
    "Rescaling": (lambda: L.Rescaling(0.5, 3), "RFCO"),
    "Reshape": (lambda: L.Reshape((7, 11, 8)), "R"),
    "Resizing": (lambda: L.Resizing(9, 13), "R"),
    "SeparableConv2D": (lambda: L.SeparableConv2D(5, 3, 2), "RFCO"),
    "Softmax": (L.Softmax, "FO"),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.3), "RFCO"),
    "SpectralNormalization": (lambda: L.SpectralNormalization(L.Conv2D(5, 3)), ""),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(3)), ""),
    "UnitNormalization": (L.UnitNormalization, "FO"),
    "UpSampling2D": (lambda: L.UpSampling2D(2), "RFO"),
    "ZeroPadding2D": (lambda: L.ZeroPadding2D(((1, 2), (0, 1))), "RFCO"),
}
# Of two maps.
ON_PAIRS = {
    "Add": (L.Add, "RFCO"),
    "Average": (L.Average, "RFCO"),
    "Concatenate": (L.Concatenate, "RFCO"),
    "Maximum": (L.Maximum, "FO"),
    "Minimum": (L.Minimum, "FO"),
    "Multiply": (L.Multiply, "FO"),
    "Subtract": (L.Subtract, "RFCO"),
}
# On pixels in 0..255; the random ones do nothing at inference.
ON_PIXELS = {
    "AugMix": (L.AugMix, "RFCO"),
    "AutoContrast": (L.AutoContrast, ""),
    "ContrastLimitedAdaptiveHistogramEqualization": (
        lambda: L.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2)),
        "",
    ),
    "CutMix": (L.CutMix, "RFCO"),
    "MixUp": (L.MixUp, "RFCO"),
    "RandAugment": (L.RandAugment, "RFCO"),
    "RandomBrightness": (lambda: L.RandomBrightness(0.3), "RFCO"),
    "RandomColorDegeneration": (lambda: L.RandomColorDegeneration(0.3), "RFCO"),
    "RandomColorJitter": (L.RandomColorJitter, "RFCO"),
    "RandomContrast": (lambda: L.RandomContrast(0.3), "RFCO"),
    "RandomElasticTransform": (L.RandomElasticTransform, "RFCO"),
    "RandomErasing": (L.RandomErasing, "RFCO"),
    "RandomFlip": (L.RandomFlip, "RFCO"),
    "RandomGaussianBlur": (L.RandomGaussianBlur, "RFCO"),
    "RandomGrayscale": (L.RandomGrayscale, "RFCO"),
    "RandomHue": (lambda: L.RandomHue(0.3), "RFCO"),
    "RandomInvert": (L.RandomInvert, "RFCO"),
    "RandomPerspective": (L.RandomPerspective, "RFCO"),
    "RandomPosterization": (lambda: L.RandomPosterization(4), "RFCO"),
    "RandomRotation": (lambda: L.RandomRotation(0.3), "RFCO"),
    "RandomSaturation": (lambda: L.RandomSaturation(0.3), "RFCO"),
    "RandomSharpness": (lambda: L.RandomSharpness(0.3), "RFCO"),
    "RandomShear": (lambda: L.RandomShear(0.3, 0.3), "RFCO"),
    "RandomTranslation": (lambda: L.RandomTranslation(0.3, 0.3), "RFCO"),
    "RandomZoom": (lambda: L.RandomZoom(0.3), "RFCO"),
    "Solarization": (L.Solarization, "RFCO"),
}
# At the end of the maps: their units see the whole image.
AT_THE_TOP = {
    "Flatten": (L.Flatten, "RF"),
    "GlobalAveragePooling2D": (L.GlobalAveragePooling2D, "RFO"),
    "GlobalMaxPooling2D": (L.GlobalMaxPooling2D, "RF"),
}
LAYERS = ON_MAPS | ON_PAIRS | ON_PIXELS | AT_THE_TOP
# Never on a net's images or maps, or for other ranks: unknown but for those with a reverse rule.
ELSEWHERE = {
    "on sequences": (
        "AdaptiveAveragePooling1D AdaptiveMaxPooling1D AveragePooling1D Conv1D Conv1DTranspose "
        "Cropping1D DepthwiseConv1D GlobalAveragePooling1D GlobalMaxPooling1D MaxPooling1D "
        "RepeatVector SeparableConv1D SpatialDropout1D UpSampling1D ZeroPadding1D Embedding "
        "ReversibleEmbedding Masking"
    ),
    "on volumes": (
        "AdaptiveAveragePooling3D AdaptiveMaxPooling3D AveragePooling3D Conv3D Conv3DTranspose "
        "ConvLSTM3D Cropping3D GlobalAveragePooling3D GlobalMaxPooling3D MaxPooling3D "
        "SpatialDropout3D UpSampling3D ZeroPadding3D"
    ),
    "recurrent": (
        "Bidirectional ConvLSTM1D ConvLSTM2D GRU GRUCell LSTM LSTMCell RNN SimpleRNN "
        "SimpleRNNCell StackedRNNCells"
    ),
    "attention": ("AdditiveAttention Attention Dot GroupedQueryAttention MultiHeadAttention"),
    "on text, features or sound": (
        "CategoryEncoding Discretization HashedCrossing Hashing IntegerLookup MelSpectrogram "
        "STFTSpectrogram StringLookup TextVectorization"
    ),
    "on boxes": "MaxNumBoundingBoxes",
    "fails in Keras' own Functional models": "Equalization RandomCrop",
    "holds other layers or functions": (
        "FlaxLayer InputLayer InputSpec JaxLayer Layer Pipeline TFSMLayer TorchModuleWrapper "
        "Wrapper"
    ),
}


def test_every_public_layer_is_stated():
    public = {cls.__name__ for _, cls in inspect.getmembers(L, inspect.isclass)}
    stated = [*LAYERS, *" ".join(ELSEWHERE.values()).split()]
    assert len(stated) == len(set(stated))
    assert set(stated) - public <= {"AugMix"}, "layers that Keras no longer has"
    assert public - set(stated) == set(), "say what is done with these layers"


def net(name):
    """A small net with the layer in its midst, and random weights."""
    pixels = keras.Input((17, 14, 3))
    build, _ = LAYERS[name]
    x = build()(pixels) if name in ON_PIXELS else pixels
    x = L.Conv2D(4, 4, activation="relu", name="stem")(x)
    if name in ON_PAIRS:
        x = build()([x, L.Conv2D(4, 3, padding="same", activation="relu")(x)])
    elif name in ON_MAPS:
        x = build()(x)
    x = L.Conv2D(3, 2, activation="relu", name="top")(x)
    x = build()(x) if name in AT_THE_TOP else L.Flatten()(x)
    keras.utils.set_random_seed(3)
    return networks.randomize(keras.Model(pixels, L.Dense(4, name="scores")(x)))


def the_step(model, name):
    (step,) = [s for s in walk(model).steps if type(s.operation).__name__ == name][-1:]
    return step


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_known_of_a_layer(name):
    _, letters = LAYERS[name]
    model = net(name)
    step = the_step(model, name)
    assert (kind_of(step) is UNKNOWN) == (letters == "")
    if "R" in letters:
        assert rules_for(step, "deconvnet")
    else:
        with pytest.raises(ValueError, match="has no reverse rule.*Received: layer="):
            rules_for(step, "deconvnet")
    if "F" in letters:
        assert windows_of(step, (14, 11))
    else:
        with pytest.raises(ValueError, match="not how far this one sees.*Received: layer"):
            windows_of(step, (14, 11))


def influence(model, layer, position):
    """Which pixels the units of a layer at a position depend on, by their gradient."""
    tapped = keras.Model(model.input, model.get_layer(layer).output)
    seen = 0
    for seed in range(6):
        images = tf.constant(
            np.random.default_rng(seed).uniform(0, 255, (1, 17, 14, 3)), tf.float32
        )
        with tf.GradientTape() as tape:
            tape.watch(images)
            units = tapped(images, training=False)[0, position[0], position[1]]
        seen = seen + np.abs(tape.jacobian(units, images)).sum((0, 1, -1))
    return seen > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LAYERS if name not in AT_THE_TOP])
def test_each_user_of_the_table_is_right_about_a_layer(name):
    _, letters = LAYERS[name]
    model = net(name)
    images = np.random.default_rng(1).uniform(0, 255, (2, 17, 14, 3)).astype("float32")
    height, width, _ = model.get_layer("top").output.shape[1:]
    if "F" in letters:
        place = height // 2, width // 2
        top, left, bottom, right = zf.receptive_field(model, "top").box(place, (17, 14))
        seen = influence(model, "top", place)
        assert seen.any()
        outside = seen.copy()
        outside[top:bottom, left:right] = False
        assert not outside.any()
    if "R" in letters:
        places = [[0, 0, width - 1], [1, height - 1, 0], [1, height // 2, width // 2]]
        maps = keras.Model(model.input, model.get_layer("top").output)(images).numpy()
        units = [[*place, maps[tuple(place)].argmax()] for place in places]
        deconv = zf.DeconvNet(model)
        found = zf.project_units(deconv, images, "top", units)
        assert found.is_local == ("C" in letters), found.why_whole
        whole = [
            deconv.project(images[[n]], "top", [channel], (row, column)).pixels[0, 0]
            for n, row, column, channel in units
        ]
        scale = np.abs(whole).max()
        np.testing.assert_allclose(found.paste() / scale, np.array(whole) / scale, atol=1e-5)
    check_occlusion(model, images, name, letters)


@pytest.mark.slow
@pytest.mark.parametrize("name", AT_THE_TOP)
def test_occlusion_at_the_top(name):
    images = np.random.default_rng(1).uniform(0, 255, (2, 17, 14, 3)).astype("float32")
    check_occlusion(net(name), images, name, LAYERS[name][1])


def check_occlusion(model, images, name, letters):
    options = {"patch_size": (4, 3), "strides": 3, "fill_value": 90, "softmax": False}
    plain, fast = (
        zf.occlusion(model, images, method=method, **options) for method in ("plain", "incremental")
    )
    spread = np.ptp(plain.probabilities)
    np.testing.assert_allclose(fast.probabilities, plain.probabilities, atol=1e-4 * spread)
    sweep = Sweep(model, (17, 14), centres(17, 4, 3), centres(14, 3, 3), (4, 3))
    made_locally = {name for name, i in walk(model).names.items() if i in sweep.planner.locals}
    layer = the_step(model, name).path
    assert (layer in made_locally) == ("O" in letters)


class OwnTransform(L.RandomFlip):
    def transform_images(self, images, transformation, training=True):
        return 255 - images


class OwnDoubleCall(L.Conv2D):
    def __call__(self, x):
        return super().__call__(keras.ops.roll(x, 1, 2))


def test_layers_that_do_something_else_are_unknown():
    """By any door: another `transform_images`, another `__call__`, a `call` of the object's own."""
    patched = L.ReLU()
    patched.call = lambda x: keras.ops.roll(x, 1, 2)
    for layer in (OwnTransform(), OwnDoubleCall(2, 3), patched):
        assert layer_kind(layer).role is Role.UNKNOWN
    for layer in (L.RandomFlip(), L.Conv2D(2, 3), L.ReLU()):
        assert layer_kind(layer).role is not Role.UNKNOWN

"""Models to project: real SqueezeNet v1.0, and small ones of every shape the walk must take."""

import csv
import io
import tarfile

import keras
import numpy as np
from PIL import Image

import zfkeras as zf

L = keras.layers
RELU = "relu"


def randomize(model, seed=7, scale=1.0):
    """He-scaled weights, biases that are not zero, moving statistics that are not trivial."""
    rng = np.random.default_rng(seed)

    def draw(weight):
        shape = weight.shape
        if len(shape) > 1:
            fan_in = np.prod(shape[:-1]) if "depthwise" not in weight.path else shape[0] * shape[1]
            return rng.normal(scale=scale * np.sqrt(2 / fan_in), size=shape)
        if "variance" in weight.name or "gamma" in weight.name:
            return rng.uniform(0.5, 1.5, shape)
        return rng.normal(scale=0.1, size=shape)

    model.set_weights([draw(weight) for weight in model.weights])
    return model


def images(model, count=2, seed=3):
    """Smooth images with noise, in -1..1."""
    height, width, channels = model.inputs[0].shape[1:]
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 5, 4, channels)).astype("float32")
    smooth = np.asarray(keras.ops.image.resize(coarse, (height, width)))
    return (smooth + 0.2 * rng.normal(size=smooth.shape)).astype("float32")


def chain(**kwargs):
    """conv-relu-pool three times, pools overlapping, sizes that don't divide, a dense head."""
    x = pixels = keras.Input((41, 37, 3))
    for index, (filters, kernel, stride, padding) in enumerate(
        [(6, 5, 2, "valid"), (8, 3, 1, "same"), (7, 3, 1, "valid")], 1
    ):
        x = L.Conv2D(filters, kernel, stride, padding, activation=RELU, name=f"conv{index}")(x)
        if index < 3:
            x = zf.MaxPoolWithArgmax2D(3, 2, "ceil" if index == 1 else "same", name=f"pool{index}")(
                x
            )
            x = zf.LocalResponseNormalization(alpha=0.1, name=f"norm{index}")(x)
    x = L.Dropout(0.5)(L.Flatten()(x))
    x = L.Dense(9, activation=RELU, name="fc")(x)
    return randomize(keras.Model(pixels, L.Dense(4, name="logits")(x), **kwargs))


def _fire(x, squeeze, expand, name):
    x = L.Conv2D(squeeze, 1, activation=RELU, name=f"{name}_squeeze")(x)
    left = L.Conv2D(expand, 1, activation=RELU, name=f"{name}_expand1")(x)
    right = L.Conv2D(expand, 3, padding="same", activation=RELU, name=f"{name}_expand3")(x)
    return L.Concatenate(name=name)([left, right])


def squeezenet_like():
    """Branches: Concatenate of unequal kernels, Add with a skip, global average."""
    pixels = keras.Input((35, 31, 3))
    x = L.Conv2D(8, 3, 2, name="conv1")(pixels)
    x = L.MaxPooling2D(3, 2, name="pool1")(L.ReLU(name="relu1")(x))
    x = _fire(x, 4, 5, "fire2")
    x = L.Add(name="add")([x, _fire(x, 3, 5, "fire3")])
    x = L.MaxPooling2D(2, name="pool3")(x)
    x = L.Conv2D(6, 1, activation=RELU, name="conv10")(x)
    return randomize(keras.Model(pixels, L.GlobalAveragePooling2D(name="scores")(x)))


def mobile():
    """Depthwise, separable, dilated and transposed convolutions, BatchNorm, ReLU6."""
    x = pixels = keras.Input((26, 22, 3))
    x = L.ZeroPadding2D(((0, 1), (1, 0)))(L.Rescaling(2.0, offset=0.5)(x))
    x = L.Conv2D(8, 3, 2, use_bias=False, name="stem")(x)
    x = L.ReLU(6.0, name="stem_relu")(L.BatchNormalization(name="stem_bn")(x))
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.Activation("relu6", name="depthwise_relu")(L.BatchNormalization()(x))
    x = L.SeparableConv2D(10, 3, strides=2, padding="same", activation=RELU, name="separable")(x)
    x = L.Conv2D(10, 3, padding="same", dilation_rate=2, activation=RELU, name="dilated")(x)
    x = L.Conv2DTranspose(5, 3, strides=2, padding="same", activation=RELU, name="transposed")(x)
    x = L.Cropping2D(((1, 0), (0, 2)))(L.AveragePooling2D(3, 2, "same", name="average")(x))
    x = L.UpSampling2D(2, name="up")(x)
    return randomize(keras.Model(pixels, L.GlobalMaxPooling2D(name="top")(x)), scale=1.5)


def nested(shared=True):
    """A Sequential in a Functional model in a Functional model, and used once more outside."""
    block = keras.Sequential(
        [
            keras.Input((None, None, 6)),
            L.Conv2D(6, 3, padding="same", activation=RELU, name="conv"),
        ],
        name="block",
    )
    inside = keras.Input((29, 27, 3))
    x = L.Conv2D(6, 3, name="conv")(inside)
    x = keras.ops.relu(x)
    x = block(x)
    backbone = keras.Model(inside, L.MaxPooling2D(2, name="pool")(x), name="backbone")
    pixels = keras.Input((29, 27, 3))
    x = backbone(pixels / 2.0 - 0.25)
    x = L.Dropout(0.5, name="dropout")(x)
    x = block(x) if shared else x
    return randomize(keras.Model(pixels, L.Conv2D(4, 1, name="head")(x), name="outer"))


def shared_layer():
    """One convolution called three times, once beside itself."""
    pixels = keras.Input((17, 14, 3))
    conv = L.Conv2D(3, 3, padding="same", activation=RELU, name="conv")
    x = conv(conv(pixels))
    return randomize(keras.Model(pixels, L.Add(name="add")([x, conv(x)])))


def sequential():
    return randomize(
        keras.Sequential(
            [
                keras.Input((19, 23, 3)),
                L.Conv2D(5, 3, strides=2, padding="same", name="conv1"),
                L.Activation(RELU, name="relu1"),
                L.MaxPooling2D(2, name="pool1"),
                L.Conv2D(6, 3, activation=L.ReLU(), name="conv2"),
                L.GlobalAveragePooling2D(name="average"),
                L.Dense(5, activation="softmax", name="head"),
            ]
        )
    )


SMALL = {
    "chain": (chain, ["conv1", "pool1", "norm1", "conv2", "conv3", "fc", "logits"]),
    "squeezenet_like": (squeezenet_like, ["relu1", "fire2", "add", "pool3", "conv10", "scores"]),
    "mobile": (
        mobile,
        ["stem", "stem_relu", "depthwise_relu", "separable", "transposed", "up", "top"],
    ),
    "shared_layer": (shared_layer, ["add"]),
    "sequential": (sequential, ["conv1", "relu1", "pool1", "conv2", "average"]),
}


def resnet_like():
    """Strided blocks with a projected and a plain shortcut, BatchNorm, an explicit padding."""
    pixels = keras.Input((43, 37, 3))
    x = L.Conv2D(6, 7, 2, use_bias=False)(L.ZeroPadding2D(3)(pixels))
    x = L.ReLU()(L.BatchNormalization(name="stem")(x))
    x = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1, name="padded")(x))
    for index, stride in enumerate([2, 1]):
        y = L.Conv2D(8, 3, stride, padding="same", use_bias=False)(x)
        y = L.Conv2D(8, 3, padding="same", use_bias=False)(L.ReLU()(L.BatchNormalization()(y)))
        y = L.BatchNormalization()(y)
        x = L.BatchNormalization()(L.Conv2D(8, 1, stride)(x)) if index == 0 else x
        x = L.ReLU(name=f"block{index}")(L.Add(name=f"sum{index}")([x, y]))
    return randomize(keras.Model(pixels, x))


def vgg_like():
    x = pixels = keras.Input((38, 45, 3))
    for block, count in enumerate([2, 2, 3], 1):
        for index in range(count):
            x = L.Conv2D(
                4 * block, 3, padding="same", activation=RELU, name=f"block{block}_{index}"
            )(x)
        x = L.MaxPooling2D(2, name=f"pool{block}")(x)
    return randomize(keras.Model(pixels, x))


# === Bodies: images to numbers, for a head of the test's ===


@keras.saving.register_keras_serializable(package="test")
class SpatialMean(L.Layer):
    """A layer the engine does not know, and which is not local."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=(1, 2), keepdims=True)


@keras.saving.register_keras_serializable(package="test")
class Shifted(L.ReLU):
    """A subclass of a layer the engine knows, that does something else."""

    def call(self, x):
        return keras.ops.relu(keras.ops.roll(x, 1, axis=2))


def conv(x, filters, size, strides=1, padding="same", activation="relu", **kwargs):
    return L.Conv2D(filters, size, strides, padding, activation=activation, **kwargs)(x)


def vgg_body(x):
    for filters in (6, 9):
        x = L.MaxPooling2D(2)(conv(conv(x, filters, 3), filters, 3))
    x = L.Flatten()(conv(x, 12, 3, name="last"))
    return L.Dense(16, activation="relu")(x)


def squeezenet_body(x):
    x = L.MaxPooling2D(3, 2)(conv(x, 8, 3, 2, "valid"))
    for _ in range(2):
        x = conv(x, 4, 1)
        x = L.Concatenate()([conv(x, 8, 1), conv(x, 8, 3)])
    x = L.MaxPooling2D(3, 2)(x)
    return L.GlobalAveragePooling2D()(conv(x, 12, 1, name="last"))


def resnet_body(x):
    x = L.ZeroPadding2D(3)(x)
    x = L.ReLU()(L.BatchNormalization()(conv(x, 8, 7, 2, "valid", None)))
    x = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1)(x))
    for strides, filters in ((1, 8), (2, 12)):
        shortcut = L.BatchNormalization()(conv(x, filters, 1, strides, activation=None))
        y = L.Activation("relu")(L.BatchNormalization()(conv(x, 6, 1, strides)))
        y = L.Activation("relu")(L.BatchNormalization()(conv(y, 6, 3)))
        y = L.BatchNormalization()(conv(y, filters, 1, activation=None))
        x = L.Activation("relu")(L.Add()([shortcut, y]))
    x = conv(x, 7, 3, name="last")
    return L.GlobalAveragePooling2D()(x)


def mobilenet_body(x):
    x = L.ReLU(6.0)(L.BatchNormalization()(conv(x, 6, 3, 2, activation=None)))
    for strides in (1, 2):
        y = L.ReLU(6.0)(L.BatchNormalization()(conv(x, 12, 1, activation=None)))
        y = L.ZeroPadding2D(((0, 1), (1, 2)))(y) if strides == 2 else y
        y = L.DepthwiseConv2D(3, strides, "valid" if strides == 2 else "same")(y)
        y = L.ReLU(6.0)(L.BatchNormalization()(y))
        y = L.BatchNormalization()(conv(y, 6, 1, activation=None))
        x = L.Add()([x, y]) if strides == 1 else y
    x = L.SeparableConv2D(9, 3, padding="same", activation="silu", name="last")(x)
    return L.GlobalAveragePooling2D(keepdims=True)(x)


def odds_and_ends(x):
    """Every other local layer, unequal windows and strides, and operations of keras.ops."""
    x = L.Normalization(mean=[3, 4, 5], variance=[1, 2, 3])(x)
    x = conv(x, 4, (3, 2), (1, 2), "valid", "tanh")
    x = L.AveragePooling2D((2, 3), (1, 2), "same")(x)
    y = conv(x, 6, 3, dilation_rate=2, activation="gelu", groups=2)
    z = L.Dense(6, "softplus")(L.LayerNormalization()(x))
    x = L.Multiply()([y, z]) + L.Maximum()([z, L.LeakyReLU()(y)])
    x = L.PReLU("ones", shared_axes=[1, 2])(keras.ops.relu(x) * 0.5)
    x = L.Cropping2D(((1, 0), (0, 2)))(L.UpSampling2D((2, 1))(x))
    x = L.MaxPooling2D((3, 2), (2, 1), "same")(x)
    x = L.Softmax(name="last")(L.Dropout(0.5)(x))
    return L.Flatten()(L.AveragePooling2D(2)(x))


def nested_body(x):
    inner_input = keras.Input(x.shape[1:])
    inner = keras.Model(inner_input, L.MaxPooling2D(2)(conv(inner_input, 6, 3)), name="in")
    shared = L.Conv2D(6, 3, activation="relu", name="shared")
    x = shared(shared(inner(x)) if x.shape[-1] == 6 else inner(x))
    return L.Flatten()(conv(shared(x), 5, 2, name="last"))


def unknown_layer(x):
    x = L.MaxPooling2D(2)(conv(x, 6, 3))
    return L.Flatten()(conv(SpatialMean()(conv(x, 6, 3)), 6, 3, 2, name="last"))


def unknown_subclass(x):
    return L.Flatten()(conv(Shifted()(conv(x, 6, 3, 2)), 6, 3, 2, name="last"))


def unknown_activation(x):
    def centred(x):
        return keras.ops.relu(x - keras.ops.mean(x, axis=(1, 2), keepdims=True))

    x = conv(conv(x, 6, 3, 2, activation=centred), 6, 3, name="last")
    return L.Flatten()(L.Activation(centred)(x))


def broadcast_rows(x):
    """Maps of one row, multiplied with all rows of another."""
    x = conv(x, 5, 3, 2)
    row = conv(x, 5, (x.shape[1], 1), padding="valid", activation="sigmoid")
    return L.Flatten()(L.Multiply(name="last")([x, row]))


def normalised_and_raw(x):
    """Convolutions that a normalisation follows but that others read, too."""
    x = conv(x, 6, 3, 2, activation=None)
    x = L.Add()([L.BatchNormalization()(x), x])
    x = conv(x, 6, 3, activation=None, name="last")
    return L.Flatten()(L.ReLU()(L.BatchNormalization()(x)))


def position_dependent(x):
    """Layers of known types that depend on the place, or on all of them."""
    x = L.PReLU("uniform")(conv(x, 5, 3, 2))
    x = L.GroupNormalization(1)(x)
    gate = conv(L.GlobalAveragePooling2D(keepdims=True)(x), 5, 1, activation="sigmoid")
    return L.GlobalMaxPooling2D()(L.Multiply(name="last")([x, gate]))


BODIES = [
    vgg_body,
    squeezenet_body,
    resnet_body,
    mobilenet_body,
    odds_and_ends,
    nested_body,
    unknown_layer,
    unknown_subclass,
    unknown_activation,
    broadcast_rows,
    normalised_and_raw,
    position_dependent,
]


# === The developers' real nets and pictures ===


def squeezenet(shared):
    """SqueezeNet v1.0 with its real ImageNet weights, raw RGB in, 1000 scores out."""
    weights = np.load(shared / "weights" / "squeezenet_v1_0_deepcompressed.npz", allow_pickle=False)
    pixels = keras.Input((227, 227, 3), name="pixels")
    x = L.Rescaling(1.0, offset=[-104.007, -116.669, -122.679], name="mean")(pixels[..., ::-1])
    x = L.Conv2D(96, 7, 2, activation=RELU, name="conv1")(x)
    x = zf.MaxPoolWithArgmax2D(3, 2, "ceil", name="pool1")(x)
    for index, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64], 2):
        x = _fire(x, squeeze, 4 * squeeze, f"fire{index}")
        if index in (4, 8):
            x = zf.MaxPoolWithArgmax2D(3, 2, "ceil", name=f"pool{index}")(x)
    x = L.Conv2D(1000, 1, activation=RELU, name="conv10")(L.ZeroPadding2D(1)(x))
    model = keras.Model(pixels, L.GlobalAveragePooling2D(name="scores")(x), name="squeezenet")
    for layer in model.layers:
        if layer.weights:
            name = layer.name.replace("_squeeze", "/squeeze1x1")
            name = name.replace("_expand1", "/expand1x1").replace("_expand3", "/expand3x3")
            kernel = weights[f"{name}/codebook"][weights[f"{name}/code"]]
            layer.set_weights([kernel.transpose(2, 3, 1, 0), weights[f"{name}/bias"]])
    return model


def photographs(shared, count=None, names=None):
    """Yields (name, picture (227, 227, 3) uint8) of the ImageNet sample."""
    with tarfile.open(shared / "images" / "imagenet_sample_700.tar") as tar:
        members = sorted(tar.getnames()) if names is None else names
        step = max(1, len(members) // count) if count else 1
        for name in members[::step][:count]:
            picture = Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB")
            picture = np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR))
            yield name, picture[14:241, 14:241]


def top5(shared):
    """The reference answers: {file name: (classes, probabilities)}."""
    with (shared / "reference" / "squeezenet_v1_0_imagenet_sample_700_top5.csv").open() as file:
        return {
            row["file"]: (
                [int(row[f"top5_{i}"]) for i in range(1, 6)],
                [float(row[f"p{i}"]) for i in range(1, 6)],
            )
            for row in csv.DictReader(file)
        }

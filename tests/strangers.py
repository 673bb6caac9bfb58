"""What strangers bring: nets, folders and pictures unlike our own, small and always the same."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from heads import softmax
from PIL import Image

L = keras.layers
SIZE = (24, 30)
OWN_LAYERS = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


def as_it_is(outputs):
    return outputs


@dataclass(frozen=True)
class Net:
    """A net, what its outputs mean, and how it must be spoken to."""

    make: Callable[..., keras.Model]
    meaning: Callable[[np.ndarray], np.ndarray] = softmax
    channels: int = 3
    layer: str = "last"  # the last convolution of more than one place, as zfkeras calls it
    maps: Callable | None = None  # (model, images): what it computes; default: a layer of this name
    flags: tuple[str, ...] = ()
    ending: str = ".keras"
    output: str | None = None

    def scores(self, model: keras.Model, images: np.ndarray) -> np.ndarray:
        """What the net says of images, by `model.predict` alone."""
        outputs = model.predict(images, verbose=0)
        if isinstance(outputs, dict):
            outputs = outputs[self.output]
        elif isinstance(outputs, list):
            outputs = outputs[model.output_names.index(self.output)]
        outputs = np.asarray(outputs, np.float32)
        return self.meaning(outputs.reshape(len(outputs), -1))

    def activations(self, model: keras.Model, images: np.ndarray) -> np.ndarray:
        """The feature maps of `layer`, by Keras alone."""
        return np.asarray(self.traced(model, images), np.float32)

    def traced(self, model, images):
        """The same as a tensor, through which gradients run."""
        if self.maps is not None:
            return self.maps(model, images)
        return keras.Model(model.input, model.get_layer(self.layer).output)(images, training=False)


def body(pixels, activation="relu", scale=1 / 255):
    """Two convolutions, named first and last, with a pool between."""
    x = L.Rescaling(scale)(pixels)
    x = L.Conv2D(5, 5, 2, activation=activation, name="first")(x)
    x = L.MaxPooling2D(2)(x)
    return L.Conv2D(4, 3, activation=activation, name="last")(x)


def net(head, shape=(*SIZE, 3), **options):
    pixels = keras.Input(shape)
    return keras.Model(pixels, head(body(pixels, **options)))


def dense(units=3, activation=None, **options):
    return lambda x: L.Dense(units, activation, **options)(L.Flatten()(x))


def pooled(x):
    return L.Dense(3)(L.GlobalAveragePooling2D()(x))


def one_by_one(x):
    return L.GlobalAveragePooling2D()(L.Conv2D(3, 1, name="scores")(x))


def two_heads():
    pixels = keras.Input((*SIZE, 3))
    x = L.Flatten()(body(pixels))
    return keras.Model(pixels, [L.Dense(3, name="kind")(x), L.Dense(1, name="age")(x)])


def dict_output():
    pixels = keras.Input((*SIZE, 3))
    x = L.Flatten()(body(pixels))
    return keras.Model(pixels, {"kind": L.Dense(3)(x), "age": L.Dense(1)(x)})


def augmenting():
    pixels = keras.Input((*SIZE, 3))
    x = L.RandomFlip()(pixels)
    x = L.RandomContrast(0.3)(L.RandomRotation(0.2)(x))
    return keras.Model(pixels, dense()(L.GaussianNoise(0.1)(body(x))))


def backbone():
    """A pretrained net as a layer: depthwise convolutions, ReLU6, a residual, and a head."""
    inside = keras.Input((*SIZE, 3))
    x = L.Conv2D(6, 3, 2, "same", use_bias=False)(inside)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    y = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    y = L.BatchNormalization()(L.Conv2D(6, 1, name="project")(L.ReLU(6.0)(y)))
    x = L.Conv2D(8, 3, 2, activation="relu", name="last")(L.Add()([x, y]))
    mobile = keras.Model(inside, x, name="mobile")
    pixels = keras.Input((*SIZE, 3))
    x = mobile(L.Rescaling(1 / 127.5, -1.0)(pixels))
    return keras.Model(pixels, L.Dense(3)(L.Dropout(0.2)(L.GlobalAveragePooling2D()(x))))


def backbone_maps(model, images):
    mobile = model.get_layer("mobile")
    inside = keras.Model(mobile.input, mobile.get_layer("last").output)
    return inside(images / 127.5 - 1)


def normalised():
    """BatchNorm between every convolution and its ReLU, with statistics of its own."""
    pixels = keras.Input((*SIZE, 3))
    x = L.BatchNormalization()(pixels)
    x = L.Conv2D(5, 3, 2, use_bias=False, name="first")(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    x = L.Conv2D(4, 3, use_bias=False, name="last")(L.MaxPooling2D(2)(x))
    model = keras.Model(pixels, dense()(L.ReLU()(L.BatchNormalization()(x))))
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            count = layer.gamma.shape
            first = layer is model.layers[1]
            layer.set_weights([
                rng.uniform(0.5, 1.5, count), rng.normal(size=count),
                rng.normal(128 if first else 0, 0.3, count),
                rng.uniform(0.5, 1.5, count) * (4000 if first else 1),
            ])  # fmt: skip
    return model


def half():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return net(dense(3, dtype="float32"))
    finally:
        keras.config.set_dtype_policy(before)


def quantised():
    model = net(dense())
    model.quantize("int8")
    return model


@keras.saving.register_keras_serializable("strangers")
class Subclassed(keras.Model):
    """A net whose graph is in Python code only."""

    def __init__(self, **options):
        super().__init__(**options)
        self.convolution = L.Conv2D(4, 3, activation="relu", name="last")
        self.flatten = L.Flatten()
        self.dense = L.Dense(3)

    def call(self, x):
        return self.dense(self.flatten(self.convolution(x / 255)))


def subclassed():
    model = Subclassed(name="subclassed")
    model(np.zeros((1, *SIZE, 3), np.float32))
    return model


def own_layer(folder: Path) -> keras.Model:
    """A net with a layer from a module of the user's, which is written to the folder."""
    (folder / "own_layers.py").write_text(OWN_LAYERS)
    scope = {"__name__": "own_layers"}
    exec(compile(OWN_LAYERS, "own_layers.py", "exec"), scope)
    pixels = keras.Input((*SIZE, 3))
    x = body(pixels)
    return keras.Model(pixels, dense()(scope["Doubled"]()(x)))


def own_loss():
    """A net compiled with a loss and a metric that nobody can import."""

    def loss(truth, answer):
        return keras.ops.mean(truth - answer)

    model = net(dense())
    model.compile(loss=loss, metrics=[lambda truth, answer: keras.ops.mean(answer)])
    return model


def sharing():
    """One convolution called twice, and twice beside itself."""
    pixels = keras.Input((*SIZE, 3))
    x = L.Conv2D(4, 5, 2, activation="relu", name="first")(L.Rescaling(1 / 255)(pixels))
    again = L.Conv2D(4, 3, padding="same", activation="relu", name="last")
    return keras.Model(pixels, dense()(L.Add()([again(x), again(again(x))])))


def sharing_maps(model, images):
    first, last = (model.get_layer(name) for name in ("first", "last"))
    return last(last(first(images / 255)))


def sequential():
    return keras.Sequential(
        [
            L.Rescaling(1 / 255),
            L.Conv2D(5, 5, 2, activation="relu", name="first"),
            L.MaxPooling2D(2),
            L.Conv2D(4, 3, activation="relu", name="last"),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ]
    )


def built_sequential():
    model = sequential()
    model.build((None, *SIZE, 3))
    return model


def sequential_maps(model, images):
    for layer in model.layers[:4]:
        images = layer(images)
    return images


NETS = {
    "one sigmoid": Net(lambda: net(dense(1, "sigmoid")), as_it_is),
    "many sigmoids": Net(lambda: net(dense(3, "sigmoid")), as_it_is),
    "regression": Net(lambda: net(dense(1)), as_it_is),
    "two heads": Net(two_heads, output="kind"),
    "dict output": Net(dict_output, output="kind"),
    "grey": Net(lambda: net(dense(), (*SIZE, 1)), channels=1),
    "four channels": Net(lambda: net(dense(), (*SIZE, 4)), channels=4),
    "any size": Net(lambda: net(pooled, (None, None, 3)), flags=("--image-size", "24,30")),
    "augmentation inside": Net(augmenting),
    "nested backbone": Net(backbone, layer="mobile/last", maps=backbone_maps),
    "BatchNorm before ReLU": Net(normalised),
    "1x1 head": Net(lambda: net(one_by_one), layer="scores"),
    "LeakyReLU": Net(lambda: net(dense(), activation="leaky_relu")),
    "GELU": Net(lambda: net(dense(), activation="gelu")),
    "mixed_float16": Net(half),
    "int8": Net(quantised),
    "subclassed": Net(subclassed, maps=lambda model, images: model.convolution(images / 255)),
    "own layer": Net(own_layer, flags=("--import", "own_layers.py")),
    "own loss": Net(own_loss),
    "own loss, .h5": Net(own_loss, ending=".h5"),
    "shared layers": Net(sharing, layer="last:2", maps=sharing_maps),
    "softmax, Sequential": Net(built_sequential, as_it_is, maps=sequential_maps),
    ".h5": Net(lambda: net(dense()), ending=".h5"),
}


def file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def make(name: str, folder: Path) -> keras.Model:
    """A stranger's net, saved into the folder as strangers save them."""
    keras.utils.set_random_seed(7)
    kind = NETS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Keras' own advice to whoever saves
        model = kind.make(folder) if name == "own layer" else kind.make()
        model.save(folder / f"{file_name(name)}{kind.ending}")
    return model


# === Pictures ===

H, W = 45, 61


def photograph(rng, height=H, width=W):
    """Smooth, and different in every corner: JPEG keeps it, and no turn of it is itself."""
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(number, order="<"):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "A maker whose name is longer than four bytes"
    exif[0x0112] = number
    return exif


def chunk(name, data):
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def grey_png(bits, values):
    """A grey PNG of 1, 2 or 4 bits a pixel, which Pillow does not write."""
    rows = b"".join(
        b"\0" + np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes() for row in values
    )
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def awkward(rng):
    """{name: file} of everything that people have."""
    photo = photograph(rng)
    alpha = Image.fromarray(rng.integers(0, 256, (H, W)).astype(np.uint8))
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 256 + 77
    clear = photo.copy()
    clear.putalpha(alpha)
    files = {f"{n}.JPG": encoded(photo, "JPEG", exif=turned(n)) for n in range(1, 9)}
    files |= {f"big-endian-{n}.jpe": encoded(photo, "JPEG", exif=turned(n, ">")) for n in (3, 6)}
    files |= {f"{n}.PNG": encoded(photo, "PNG", exif=turned(n)) for n in range(1, 9)}
    files |= {f"{n}.webp": encoded(photo, "WEBP", lossless=True, exif=turned(n)) for n in (1, 6, 7)}
    files |= {f"{n}.tif": encoded(photo, "TIFF", exif=turned(n)) for n in (1, 8)}
    files |= {f"{q}-{s}.jpg": encoded(photo, "JPEG", quality=q, subsampling=s, progressive=s == 1)
              for q in (30, 75, 97) for s in range(3)}  # fmt: skip
    for mode, kinds in {
        "1": ("PNG", "BMP", "TIFF"),
        "L": ("JPEG", "PNG", "GIF", "BMP", "TIFF"),
        "P": ("PNG", "GIF", "BMP", "TIFF"),
        "RGB": ("PNG", "BMP", "TIFF", "WEBP"),
        "CMYK": ("JPEG", "TIFF"),
        "YCbCr": ("JPEG", "TIFF"),
        "LAB": ("TIFF",),
    }.items():
        image = Image.frombytes("LAB", photo.size, photo.tobytes()) if mode == "LAB" else photo
        files |= {f"{mode}.{k.lower()}": encoded(image.convert(mode), k) for k in kinds}
    files |= {
        "RGBA.png": encoded(clear, "PNG"),
        "RGBA.webp": encoded(clear, "WEBP", lossless=True),
        "RGBA-6.png": encoded(clear, "PNG", exif=turned(6)),
        "LA.png": encoded(clear.convert("LA"), "PNG"),
        "P-transparent.png": encoded(photo.convert("P"), "PNG", transparency=3),
        "P-half.png": encoded(photo.quantize(9), "PNG", transparency=bytes(range(0, 252, 28))),
        "L-transparent.png": encoded(photo.convert("L"), "PNG", transparency=int(deep[3, 4] >> 8)),
        "RGB-transparent.png": encoded(photo, "PNG", transparency=photo.getpixel((4, 3))),
        "16.png": encoded(Image.fromarray(deep), "PNG"),
        "16.tiff": encoded(Image.fromarray(deep), "TIFF"),
        "I.tiff": encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"),
        "F.tiff": encoded(Image.fromarray(deep.astype(np.float32) / 65535), "TIFF"),
        "animated.gif": encoded(photo.convert("P"), "GIF", save_all=True,
                                append_images=[Image.new("P", photo.size)]),
        "animated.png": encoded(photo, "PNG", save_all=True,
                                append_images=[Image.new("RGB", photo.size)]),
        "animated.webp": encoded(photo, "WEBP", lossless=True, save_all=True,
                                 append_images=[Image.new("RGB", photo.size)]),
        "pixel.png": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "pixel.jpg": encoded(Image.new("L", (1, 1), 9), "JPEG", exif=turned(5)),
        "wide.png": encoded(photograph(rng, 1, 3000), "PNG"),
        "high.jpg": encoded(photograph(rng, 3000, 2), "JPEG", exif=turned(8)),
    }  # fmt: skip
    for bits in (1, 2, 4):
        values = rng.integers(0, 2**bits, (H, W))
        files[f"grey-{bits}.png"] = grey_png(bits, values)
    return files


FILES = awkward(np.random.default_rng(3))
WRONG = {
    "text.jpg": b"no picture",
    "empty.png": b"",
    "cut.jpg": FILES["1.JPG"][:-200],
    "cut.png": FILES["1.PNG"][:-200],
    "page.jpg": b"<!doctype html><title>404</title>",
}


# === Folders ===


def _red(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (31, 23), "red").save(path)


def _link_to(target):
    return lambda root: (root / "cat" / "loop").symlink_to(root / target, target_is_directory=True)


LITTER = {  # what lies about in a folder, and is neither picture nor class
    "link to the root": _link_to("."),
    "link to the class": _link_to("cat"),
    "links in a ring": lambda root: (
        (root / "cat" / "a").mkdir(),
        (root / "cat" / "b").mkdir(),
        (root / "cat" / "a" / "b").symlink_to(root / "cat" / "b"),
        (root / "cat" / "b" / "a").symlink_to(root / "cat" / "a"),
    ),
    "hidden folder": lambda root: _red(root / "cat" / ".ipynb_checkpoints" / "x.png"),
    "hidden class": lambda root: _red(root / ".ipynb_checkpoints" / "x.png"),
    "archive of macOS": lambda root: _red(root / "__MACOSX" / "cat" / "x.png"),
    "archive of macOS in a class": lambda root: _red(root / "cat" / "__MACOSX" / "x.png"),
    "resource fork": lambda root: (root / "cat" / "._0.png").write_bytes(b"\0\5\26\7"),
    "thumbnails": lambda root: (root / "cat" / "Thumbs.db").write_bytes(b"\xd0\xcf"),
    "view settings": lambda root: (root / "cat" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1"),
}

CLASSES = ("cat", "dog", "eel")


def classes(root):
    """Two pictures in each of three classes."""
    for number in range(6):
        _red(root / CLASSES[number // 2] / f"{number}.png")


def renamed(old, new):
    def make(root):
        classes(root)
        target = root / new
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(target)

    return make


def with_litter(name):
    def make(root):
        classes(root)
        LITTER[name](root)

    return make


def of_every_format(root):
    classes(root)
    for name, contents in FILES.items():
        (root / "dog" / name).write_bytes(contents)


def with_broken(root):
    classes(root)
    for name, contents in WRONG.items():
        (root / "dog" / name).write_bytes(contents)


def with_empty_directory(root):
    classes(root)
    (root / "fox").mkdir()
    (root / "fox" / "notes.txt").write_text("none yet")


def beside_classes(root):
    classes(root)
    (root / "readme.md").write_text("# data")
    (root / "labels.csv").write_text("a,b")


def not_utf8(root):
    classes(root)
    (root / "cat" / "0.png").rename(os.fsdecode(bytes(root / "cat") + b"/\xff\xfe.png"))


def nothing(root):
    root.mkdir(exist_ok=True)


def text_only(root):
    (root / "cat").mkdir(parents=True)
    (root / "cat" / "0.txt").write_text("cat")


def broken_only(root):
    for number, (name, contents) in enumerate(WRONG.items()):
        (root / CLASSES[number % 3]).mkdir(parents=True, exist_ok=True)
        (root / CLASSES[number % 3] / name).write_bytes(contents)


# {name: (how it is made, its usable pictures, those that are not)}
FOLDERS = {
    **{name: (with_litter(name), 6, 0) for name in LITTER},
    "endings in capitals": (renamed("cat/0.png", "cat/0.PNG"), 6, 0),
    "folders in classes": (renamed("cat/0.png", "cat/2026/11/0.png"), 6, 0),
    "spaces and accents": (renamed("cat/0.png", "cat/Größe 1 é'\".png"), 6, 0),
    "not UTF-8": (not_utf8, 6, 0),
    "every format": (of_every_format, 6 + len(FILES), 0),
    "broken pictures": (with_broken, 6, len(WRONG)),
    "a class without pictures": (with_empty_directory, 6, 1),
    "files beside the classes": (beside_classes, 6, 0),
}
NO_FOLDERS = {"nothing": nothing, "text only": text_only, "broken only": broken_only}

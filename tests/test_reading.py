"""One reader of pictures: Pillow's half and TensorFlow's show one set of awkward files alike."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zfkeras import reading
from zfkeras.data.decode import decode, encoded_size, portable
from zfkeras.data.folders import image_folder

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


@pytest.mark.parametrize("name", FILES)
def test_both_halves_show_a_file_alike(name):
    """To the bit, JPEG too: both use libjpeg's exact transform."""
    contents = tf.constant(FILES[name])
    ours = decode(portable(contents)).numpy()
    np.testing.assert_array_equal(ours, reading.load(FILES[name]))
    assert encoded_size(portable(contents)).numpy().tolist() == list(ours.shape[:2])


@pytest.mark.parametrize("kind", ["JPG", "PNG"])
@pytest.mark.parametrize("number", range(1, 9))
def test_every_orientation_against_its_definition(number, kind):
    """Where the stored first row and first column are seen (EXIF 2.32, table 6)."""
    stored = reading.load(FILES[f"1.{kind}"]).astype(int)
    row, column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[number]  # fmt: skip
    shown = decode(tf.constant(FILES[f"{number}.{kind}"])).numpy().astype(int)
    edges = {"top": shown[0], "bottom": shown[-1], "left": shown[:, 0], "right": shown[:, -1]}
    first_row = edges[row] if column in ("left", "top") else edges[row][::-1]
    first_column = edges[column] if row in ("left", "top") else edges[column][::-1]
    np.testing.assert_array_equal(first_row, stored[0])
    np.testing.assert_array_equal(first_column, stored[:, 0])


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["JPG", "PNG"])
def test_a_window_is_cut_from_what_is_seen(number, kind):
    contents = tf.constant(FILES[f"{number}.{kind}"])
    whole = decode(contents).numpy().astype(int)
    part = decode(contents, tf.constant([7, 16, 20, 27])).numpy().astype(int)
    expected = whole[7:27, 16:43]
    assert part.shape == (20, 27, 3)
    # Chroma is interpolated across the window's edge differently.
    assert np.abs(part - expected)[2:-2, 2:-2].max() <= (0 if kind == "PNG" else 2)


def test_transparency_over_white_rounds_as_pillow_does():
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    image = Image.fromarray(np.stack([colour] * 3 + [alpha], -1).astype(np.uint8))
    contents = encoded(image, "PNG")
    np.testing.assert_array_equal(decode(tf.constant(contents)), reading.load(contents))


def test_exif_data_that_point_nowhere_are_passed_over():
    whole = FILES["6.JPG"]
    start = whole.index(b"Exif\0\0") + 6
    size = list(reading.load(FILES["1.JPG"]).shape[:2])
    for at, data in [(4, b"\xff" * 4), (4, b"\xff\xff\xff\x7f"), (8, b"\xff\xff"), (0, b"XX")]:
        broken = whole[: start + at] + data + whole[start + at + len(data) :]
        assert encoded_size(tf.constant(broken)).numpy().tolist() in (size, size[::-1])
    for length in range(20, 400, 7):  # wherever the file ends
        head = tf.constant(whole[:length])
        try:
            encoded_size(head)
        except tf.errors.InvalidArgumentError:
            continue


def test_a_file_of_endless_parts_is_not_walked_for_ever():
    crafted = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 200_000
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(crafted))


def test_folders_take_every_file(tmp_path):
    (tmp_path / "class").mkdir()
    for name, contents in FILES.items():
        (tmp_path / "class" / name).write_bytes(contents)
    source = image_folder(tmp_path)
    assert not source.skipped
    assert source.cardinality == len(FILES)
    for picture, name in zip(source.examples, sorted(FILES), strict=True):
        np.testing.assert_array_equal(picture[0], reading.load(FILES[name]))


@pytest.mark.parametrize("name", ["1.JPG", "1.PNG", "RGB.bmp", "RGB.tiff", "1.webp"])
def test_truncated_files_are_refused(name, tmp_path):
    whole = FILES[name]
    part = whole[: len(whole) * 3 // 5]
    with pytest.raises(ValueError, match=r"(?s)Cannot read an image.*Expected.*Received: source"):
        reading.load(part)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(portable(tf.constant(part)))
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / f"bad-{name}").write_bytes(part)
    (tmp_path / "class" / name).write_bytes(whole)
    (skipped,) = image_folder(tmp_path).skipped
    assert skipped.name == f"class/bad-{name}"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 300, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0.0, 0.4, 1.0]], np.float32), [0, 102, 255]),
        (np.array([[0.0, 99.6, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0, 256, 65535]], np.uint16), [0, 1, 255]),
    ],
)
def test_numbers_mean_what_their_range_says(numbers, expected):
    contents = encoded(Image.fromarray(numbers), "TIFF")
    assert reading.load(contents)[0, :, 1].tolist() == expected


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (np.array([[-1, 7]], np.int32), "its numbers, -1 to 7 in mode I, .*0..65535. Expected"),
        (np.array([[0, 70_000]], np.int32), "0 to 70000 in mode I"),
        (np.array([[0, np.nan]], np.float32), "nan to nan in mode F, .*0..1. Expected"),
        (np.array([[0, 256.0]], np.float32), "0 to 256 in mode F"),
    ],
)
def test_numbers_without_a_meaning_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        reading.load(encoded(Image.fromarray(numbers), "TIFF"))


def test_open_pictures_of_any_mode_become_portable():
    """What a client may hold in its hands and sends."""
    photo = photograph(np.random.default_rng(1))
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La",
                 "RGBa"):  # fmt: skip
        grey = mode in ("1", "L", "LA", "La")
        source = photo.convert("L") if grey else photo
        kept = reading.load(reading.portable(_converted(source, mode))).astype(int)
        error = np.abs(kept - np.asarray(source.convert("RGB"))).mean()
        assert error < {"1": 130, "P": 30, "PA": 30}.get(mode, 4), mode


def _converted(image, mode):
    if mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[mode]).convert(mode)
    return image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)

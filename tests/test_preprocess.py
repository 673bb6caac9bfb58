"""Decoding, crops and augmentation against NumPy and Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zfkeras.data.decode import cut, decode, encoded_size
from zfkeras.data.preprocess import (
    Augmentation,
    centre_crop,
    colour_noise,
    crop_offsets,
    evaluation_picture,
    resize_to_cover,
    ten_crop,
    training_example,
)

InvalidArgument = tf.errors.InvalidArgumentError


def encoded(image, mode="RGB", kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, kind, **options)
    return tf.constant(file.getvalue())


@pytest.fixture
def picture(rng):
    """Smooth, so that JPEG changes little; 45 x 61."""
    small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((61, 45), Image.Resampling.BICUBIC))


def numbered(height, width):
    """An image whose pixel at (row, column) is (row, column, 0)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.float32)


# === Decoding ===


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"),
     ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG")],
)  # fmt: skip
def test_decode_gives_rgb_for_every_mode(picture, mode, kind):
    contents = encoded(picture, mode, kind)
    expected = np.asarray(Image.open(io.BytesIO(contents.numpy())).convert("RGB"))
    decoded = decode(contents).numpy()
    assert decoded.dtype == np.uint8
    assert decoded.shape == (45, 61, 3)
    # libjpeg's fast DCT, and CMYK by multiplication, differ a little from Pillow's.
    assert np.abs(decoded.astype(int) - expected).mean() < (3 if kind == "JPEG" else 0.01)


def test_decode_keeps_the_high_byte_of_16_bit_png(rng):
    values = rng.integers(0, 65536, (4, 7), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    assert np.array_equal(decode(tf.constant(file.getvalue())).numpy()[..., 0], values >> 8)


def test_encoded_size_reads_headers_only(picture):
    for kind in ("JPEG", "PNG"):
        contents = encoded(picture, kind=kind)
        assert encoded_size(contents).numpy().tolist() == [45, 61]
        head = tf.strings.substr(contents, 0, 700 if kind == "JPEG" else 30)
        assert encoded_size(head).numpy().tolist() == [45, 61]


def test_decode_refuses_a_bomb_before_it_explodes():
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(InvalidArgument, match="must have 1 to 67108864 pixels"):
        decode(tf.constant(bomb))


def test_decode_honours_max_pixels(picture):
    contents = encoded(picture)
    assert decode(contents, max_pixels=45 * 61).shape == (45, 61, 3)
    with pytest.raises(InvalidArgument, match="1 to 2744 pixels"):
        decode(contents, max_pixels=45 * 61 - 1)
    in_graph = tf.function(lambda c: decode(c, max_pixels=10))
    with pytest.raises(InvalidArgument, match="1 to 10 pixels"):
        in_graph(contents)


@pytest.mark.parametrize("contents", [b"", b"hello", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n"])
def test_decode_refuses_what_is_no_picture(contents):
    with pytest.raises(InvalidArgument, match="Not a JPEG or PNG"):
        decode(tf.constant(contents))


def test_decode_refuses_a_truncated_picture(picture):
    for kind in ("JPEG", "PNG"):
        contents = encoded(picture, kind=kind).numpy()
        with pytest.raises(InvalidArgument):
            decode(tf.constant(contents[: len(contents) * 3 // 5]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_decode_of_a_window_equals_the_window_of_the_whole(picture, kind):
    contents = encoded(picture, kind=kind)
    window = [7, 16, 20, 31]
    part = decode(contents, tf.constant(window)).numpy().astype(int)
    whole = decode(contents).numpy()[7:27, 16:47]
    # Chroma is interpolated across the window's edge differently.
    assert np.abs(part - whole).max() <= (0 if kind == "PNG" else 12)
    assert np.abs(part - whole)[2:-2, 2:-2].max() <= 2


# === Resizing and crops ===


def test_cut():
    assert cut(numbered(9, 7), [2, 3, 4, 2]).numpy()[0, 0].tolist() == [2, 3, 0]
    assert cut(numbered(9, 7), [2, 3, 4, 2]).numpy()[-1, -1].tolist() == [5, 4, 0]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((375, 500), (256, 256), (256, 341)), ((500, 375), (256, 256), (341, 256)),
     ((20, 20), (256, 256), (256, 256)), ((50, 60), (30, 90), (75, 90)), ((1, 5), (8, 8), (8, 40))],
)  # fmt: skip
def test_resize_to_cover(shape, size, expected):
    resized = resize_to_cover(tf.zeros((*shape, 3)), size)
    assert tuple(resized.shape[:2]) == expected
    assert resized.dtype == tf.float32


def test_resize_is_bilinear_with_antialias(picture):
    resized = resize_to_cover(tf.constant(picture), (16, 16)).numpy()
    expected = Image.fromarray(picture).resize((22, 16), Image.Resampling.BILINEAR)
    assert np.abs(resized - np.asarray(expected)).max() <= 1.01


def test_crop_offsets_of_the_paper():
    offsets = crop_offsets(256, 256, (224, 224)).numpy().tolist()
    assert offsets == [[0, 0], [0, 32], [32, 0], [32, 32], [16, 16]]
    assert crop_offsets(9, 8, (4, 5)).numpy()[4].tolist() == [2, 1]  # rounded down


def test_ten_crop_order_and_mirroring():
    image = numbered(9, 8)
    crops = ten_crop(image, (4, 5)).numpy()
    assert crops.shape == (10, 4, 5, 3)
    corners = [(0, 0), (0, 3), (5, 0), (5, 3), (2, 1)]
    for crop, (top, left) in zip(crops[:5], corners, strict=True):
        np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 5])
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])


def test_centre_crop_is_the_fifth_of_the_ten():
    image = numbered(9, 8)
    np.testing.assert_array_equal(centre_crop(image, (4, 5)), ten_crop(image, (4, 5))[4])


def test_evaluation_picture_takes_bytes_and_arrays(picture):
    contents = encoded(picture, kind="PNG")
    ours = evaluation_picture(contents, (14, 14))
    assert ours.shape == (16, 22, 3)
    np.testing.assert_array_equal(ours, evaluation_picture(tf.constant(picture), (14, 14)))
    assert evaluation_picture(contents, (14, 14), scale=1.0).shape == (14, 19, 3)


# === Augmentation ===


def views(image, augmentation, count=200):
    return np.stack([training_example(image, augmentation, (5, i)).numpy() for i in range(count)])


def test_a_training_example_is_a_function_of_its_seed(picture):
    augmentation = Augmentation((16, 16), scale=(1.0, 2.0), colour=0.1)
    one, again = (training_example(tf.constant(picture), augmentation, (1, 2)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = training_example(tf.constant(picture), augmentation, (1, 3))
    assert not np.array_equal(one, other)


def test_a_training_example_of_bytes_equals_that_of_pixels(picture):
    augmentation = Augmentation((16, 20), scale=(1.0, 1.6))
    for i in range(5):
        of_bytes = training_example(encoded(picture, kind="PNG"), augmentation, (i, 0))
        of_pixels = training_example(tf.constant(picture), augmentation, (i, 0))
        np.testing.assert_array_equal(of_bytes, of_pixels)


def test_random_crops_reach_every_place_and_keep_the_scale():
    image = numbered(64, 96)  # the picture covers 8/7 of the crop: windows are 56 x 56
    crops = views(image, Augmentation((28, 28), flip=False))
    tops, lefts = crops[:, 0, :, 0].mean(1), crops[:, :, 0, 1].mean(1)
    assert tops.min() < 1.5 and tops.max() > 7.5  # noqa: PT018
    assert lefts.min() < 2.5 and lefts.max() > 38  # noqa: PT018
    spans = crops[:, -1, :, 0].mean(1) - tops
    np.testing.assert_allclose(spans, 54, atol=0.6)  # 56 rows, seen through 28 pixels


def test_scale_jitter_draws_from_its_whole_range():
    image = numbered(60, 90)
    crops = views(image, Augmentation((20, 20), scale=(1.0, 2.0), flip=False))
    sides = (crops[:, -1, 10, 0] - crops[:, 0, 10, 0]) * 20 / 19
    # The picture's smallest side of 60 becomes 20 to 40: the crop sees 60 to 30 of it.
    assert 29 <= sides.min() < 32
    assert 57 < sides.max() <= 61


def test_ten_sampling_sees_five_places_each_mirrored():
    image = numbered(64, 96)
    crops = views(image, Augmentation((56, 56), crop="ten"))
    kinds = {(round(c[0, 0, 0]), round(c[0, 0, 1]), round(c[0, -1, 1])) for c in crops}
    places = {(0, 0), (0, 40), (8, 0), (8, 40), (4, 20)}
    expected = {(top, left, left + 55) for top, left in places}
    assert kinds == expected | {(top, right, left) for top, left, right in expected}


def test_centre_crops_without_flip_do_not_vary():
    image = numbered(64, 96)
    crops = views(image, Augmentation((56, 56), crop="centre", flip=False), 5)
    assert np.array_equal(crops, np.repeat(image[None, 4:60, 20:76], 5, 0))


def test_the_fused_crop_sees_what_resize_then_crop_sees(picture):
    """The paper resizes first; cutting first gives the same view up to half a source pixel."""
    large = np.asarray(Image.fromarray(picture).resize((225, 180), Image.Resampling.BICUBIC))
    fused = training_example(
        tf.constant(large), Augmentation((28, 28), crop="centre", flip=False), (0, 0)
    )
    paper = centre_crop(resize_to_cover(tf.constant(large), (32, 32)), (28, 28))
    assert np.abs(fused - paper).mean() < 2
    assert np.abs(fused - paper).max() < 15


def test_colour_noise_shifts_all_pixels_along_the_components():
    image = tf.random.stateless_uniform((5, 4, 3), (0, 0), 0, 255)
    shifts = np.stack([(colour_noise(image, 0.1, (3, i)) - image)[0, 0] for i in range(400)])
    same = colour_noise(image, 0.1, (3, 7)) - image
    np.testing.assert_allclose(same, np.broadcast_to(shifts[7], (5, 4, 3)), atol=1e-4)
    # The first component is brightness, by far the largest: 0.1 * 55.46.
    brightness = shifts @ np.array([0.5675, 0.5808, 0.5836])
    assert 4.5 < brightness.std() < 6.5
    assert np.linalg.norm(shifts - brightness[:, None] * [0.5675, 0.5808, 0.5836], axis=1).max() < 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"image_size": (0, 5)}, "image size must be.*image_size=\\(0, 5\\)"),
     ({"scale": (0.9, 1.2)}, "1 <= lowest <= highest.*scale=\\(0.9, 1.2\\)"),
     ({"scale": (1.5, 1.2)}, "1 <= lowest <= highest"),
     ({"crop": "corner"}, "centre, random, ten. Received: crop='corner'"),
     ({"colour": -1.0}, "colour=-1.0")],
)  # fmt: skip
def test_augmentation_refuses_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**({"image_size": (4, 4)} | arguments))

"""One reader of pictures: Pillow's half and TensorFlow's show one set of awkward files alike."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from strangers import FILES, encoded, photograph

from zfkeras import reading
from zfkeras.data.decode import decode, encoded_size, portable
from zfkeras.data.folders import image_folder


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

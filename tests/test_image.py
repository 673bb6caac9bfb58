"""Pictures: what is shown is what was computed, and no file brings the program down."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from zfkeras import image
from zfkeras.files import write_atomically


def encoded(pil, format="PNG", **options):
    buffer = io.BytesIO()
    pil.save(buffer, format, **options)
    return buffer.getvalue()


# === Showing signed projections (method.md, Signed pixels) ===


def test_zero_projection_is_uniform_mid_grey():
    shown = image.to_display(np.zeros((2, 3, 5, 3)))
    assert (shown == 128).all()


def test_to_display_against_the_formula(rng):
    pixels = rng.normal(size=(2, 3, 7, 5, 3))
    shown = image.to_display(pixels)
    for i in range(2):
        for j in range(3):
            one = pixels[i, j]
            expected = 255 * (0.5 + one / (2 * max(-one.min(), one.max())))
            np.testing.assert_allclose(shown[i, j], expected, atol=0.51)


def test_to_display_is_scale_free_and_keeps_signs(rng):
    pixels = rng.normal(size=(6, 4, 3))
    np.testing.assert_array_equal(image.to_display(pixels), image.to_display(1e-3 * pixels))
    shown = image.to_display(pixels).astype(int) - 128
    clear = np.abs(pixels) > 0.02 * np.abs(pixels).max()
    np.testing.assert_array_equal(np.sign(shown[clear]), np.sign(pixels[clear]))


def test_to_display_scales_colours_jointly():
    pixels = np.zeros((2, 2, 3))
    pixels[0, 0] = [4, 2, 0]
    assert image.to_display(pixels)[0, 0].tolist() == [255, 191, 128]


def test_percentile_raises_contrast_and_clips(rng):
    pixels = rng.normal(size=(20, 30, 3))
    pixels[0, 0, 0] = 1000
    contrast = image.to_display(pixels, percentile=99).astype(int)
    assert contrast[0, 0, 0] == 255
    assert contrast[1:].std() > 10 * image.to_display(pixels).astype(int)[1:].std()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_picture_has_a_percentile_of_its_own(rng, dtype):
    pixels = (rng.normal(size=(2, 7, 11, 3)) * [[[[3]]], [[[50]]]]).astype(dtype)
    pixels[:, :2] = 0
    for picture, shown in zip(pixels, image.to_display(pixels, percentile=90), strict=True):
        picture = picture.astype(float)
        scale = np.quantile(abs(picture[picture != 0]), 0.9)
        expected = 255 * (0.5 + np.clip(picture / scale, -1, 1) / 2)
        assert abs(shown - expected).max() < 0.5001


def test_pixels_too_large_for_what_is_computed_with_are_refused():
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="finite=False"):
        image.to_display(np.full((2, 2, 3), 1e300))


def test_percentile_leaves_empty_pixels_out():
    """Most of a deep net's projection is zero; the rest must show all the same."""
    pixels = np.zeros((1, 60, 50, 3))
    pixels[0, 3, 4] = 1.0
    np.testing.assert_array_equal(image.to_display(pixels, percentile=99), image.to_display(pixels))


@pytest.mark.parametrize(
    ("pixels", "percentile", "message"),
    [
        (np.zeros((4, 4)), None, r"shape \(\.\.\., H, W, C\).*shape=\(4, 4\)"),
        (np.full((2, 2, 3), np.nan), None, "finite=False"),
        (np.zeros((2, 2, 3)), 0, "percentile=0"),
        (np.zeros((2, 2, 3)), 101, "percentile=101"),
    ],
)
def test_to_display_refuses(pixels, percentile, message):
    with pytest.raises(ValueError, match=message):
        image.to_display(pixels, percentile)


# === Colours ===


def test_colour_map_is_viridis(rng):
    colormaps = pytest.importorskip("matplotlib").colormaps
    values = rng.random((50, 3))
    expected = 255 * colormaps["viridis"](values)[..., :3]
    np.testing.assert_allclose(image.colour_map(values, 0, 1), expected, atol=6.5)


def test_colour_map_limits_clip():
    inside = image.colour_map([-5.0, 0.0, 1.0, 9.0], low=0, high=1)
    assert (inside[0] == inside[1]).all()
    assert (inside[2] == inside[3]).all()
    assert (inside[1] != inside[2]).any()


def test_a_flat_map_has_one_colour():
    assert (image.colour_map(np.full((3, 4), 7.0)) == [68, 1, 84]).all()


def test_colour_map_refuses_nan():
    with pytest.raises(ValueError, match=r"finite numbers.*shape=\(1,\)"):
        image.colour_map([np.nan])


def test_overlay_puts_the_heat_where_it_is():
    """H != W: the hot cell of a coarse map lands on its own quarter of the picture."""
    heat = np.zeros((2, 4))
    heat[1, 3] = 1
    shown = image.overlay(np.zeros((20, 80, 3), np.uint8), heat, alpha=1)
    yellow = shown[..., 0] > 200
    rows, columns = np.nonzero(yellow)
    assert rows.min() >= 10
    assert columns.min() >= 60
    assert yellow[19, 79]


def test_overlay_alpha_and_limits_matter(rng):
    picture = rng.integers(0, 255, (6, 9, 3), dtype=np.uint8)
    heat = rng.random((6, 9))
    np.testing.assert_array_equal(image.overlay(picture, heat, alpha=0), picture)
    np.testing.assert_array_equal(image.overlay(picture, heat, alpha=1), image.colour_map(heat))
    assert (image.overlay(picture, heat) != image.overlay(picture, heat, high=3.0)).any()
    assert (image.overlay(picture, heat) != image.overlay(picture, heat, low=-3.0)).any()


def test_overlay_refuses_a_batch_of_heats():
    with pytest.raises(ValueError, match=r"shape=\(1, 4, 4\)"):
        image.overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4)))


# === Laying out ===


@given(count=st.integers(1, 17), columns=st.none() | st.integers(1, 20), padding=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_no_picture_gets_lost_in_a_grid(count, columns, padding):
    tiles = (
        np.zeros((count, 3, 5, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    sheet = image.grid(tiles, columns=columns, padding=padding, background=255)
    values, areas = np.unique(sheet[..., 0], return_counts=True)
    drawn = dict(zip(values.tolist(), areas.tolist(), strict=True))
    assert [drawn[number] for number in range(count)] == [15] * count
    assert (np.unique(sheet[sheet[..., 0] < 255], axis=0)[:, 0] == np.arange(count)).all()


def test_grid_reads_like_text_and_takes_a_background():
    tiles = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
    sheet = image.grid(tiles, columns=2, padding=0, background=(9, 8, 7))
    assert sheet[0, :, 0].tolist() == [0, 1]
    assert sheet[1].tolist() == [[2, 2, 2], [9, 8, 7]]


@pytest.mark.parametrize(
    ("pictures", "columns", "message"),
    [
        ([], None, "Received: 0 pictures"),
        ([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)], None, "all of one size"),
        ([np.zeros((2, 2, 3), np.uint8)], 0, "columns=0"),
        ([np.zeros((2, 2, 3))], 1, "dtype=float64"),
        ([np.zeros((2, 2, 4), np.uint8)], 1, r"shape=\(2, 2, 4\)"),
    ],
)
def test_grid_refuses(pictures, columns, message):
    with pytest.raises(ValueError, match=message):
        image.grid(pictures, columns=columns)


def test_frame_at_the_corner_stays_inside_and_leaves_the_original():
    picture = np.zeros((9, 12, 3), np.uint8)
    framed = image.frame(picture, (0, 8, 4, 12), colour=(1, 2, 3), thickness=1)
    assert (framed[0, 8:] == (1, 2, 3)).all()
    assert framed[..., 0].sum() == 12  # a 4 x 4 outline has 12 pixels
    assert not picture.any()


def test_a_frame_thicker_than_its_box_fills_it():
    assert (
        image.frame(np.zeros((9, 9, 3), np.uint8), (0, 0, 1, 1), thickness=3)[..., 0].sum() == 255
    )


def test_label_adds_dark_text_below_only(rng):
    picture = rng.integers(0, 255, (20, 60, 3), dtype=np.uint8)
    short, long = (image.label(picture, text) for text in ("conv5", "conv5 map 12 " * 4))
    np.testing.assert_array_equal(short[:20], picture)
    assert short[20:].min() < 100
    assert long.shape[0] > short.shape[0]
    assert long.shape[1] == 60


# === Sizes ===


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40), (30, 30), (7, 5)])
def test_fit_keeps_the_centre_and_the_aspect(height, width):
    """A centred bright square stays centred and square whatever the picture's shape."""
    picture = np.zeros((height, width, 3), np.uint8)
    side = min(height, width) // 2
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = 255
    fitted = image.fit(picture, 60)
    assert fitted.shape == (60, 60, 3)
    rows, columns = np.nonzero(fitted[..., 0] > 127)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert abs(rows.mean() - 29.5) <= 60 / min(height, width)
    assert abs(columns.mean() - 29.5) <= 60 / min(height, width)


def test_fit_to_a_rectangle_and_refusal():
    assert image.fit(np.zeros((10, 10, 3), np.uint8), (8, 20)).shape == (8, 20, 3)
    with pytest.raises(ValueError, match="size=0"):
        image.fit(np.zeros((10, 10, 3), np.uint8), 0)


# === Files ===


def test_png_round_trip(tmp_path, rng):
    picture = rng.integers(0, 255, (7, 11, 3), dtype=np.uint8)
    path = image.save(tmp_path / "new" / "folder" / "a.png", picture)
    np.testing.assert_array_equal(image.load(path), picture)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_jpeg_is_close(tmp_path):
    picture = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    loaded = image.load(image.save(tmp_path / "a.JPG", picture)).astype(int)
    assert np.abs(loaded - picture).max() < 8


def test_save_refuses_other_suffixes_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.jpg, \.jpeg.*a\.gif"):
        image.save(tmp_path / "a.gif", np.zeros((2, 2, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "a.bin", b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_writer_left_is_written_over(tmp_path):
    (tmp_path / ".a.bin.partial").write_bytes(b"half of something longer")
    assert write_atomically(tmp_path / "a.bin", b"new").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_exif_orientation_is_applied():
    """Orientation 6: the camera was turned; the stored left edge is shown on top."""
    stored = np.zeros((10, 20, 3), np.uint8)
    stored[:, :5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = image.load(encoded(Image.fromarray(stored), "JPEG", exif=exif, quality=95))
    assert shown.shape == (20, 10, 3)
    assert shown[:4].min() > 200
    assert shown[7:].max() < 60


def test_modes_become_rgb():
    ramp = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
    grey = image.load(encoded(Image.fromarray(ramp)))
    np.testing.assert_array_equal(grey, np.stack([ramp] * 3, axis=-1))

    deep = image.load(encoded(Image.fromarray(ramp.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(deep, grey)

    cmyk = Image.new("CMYK", (4, 3), (0, 255, 255, 0))  # magenta + yellow ink: red
    assert (image.load(encoded(cmyk, "TIFF")) == [255, 0, 0]).all()

    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert (image.load(encoded(palette)) == [10, 200, 30]).all()

    bits = Image.new("1", (4, 3), 1)
    assert (image.load(encoded(bits)) == 255).all()


def test_transparency_shows_white():
    assert (image.load(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))) == 255).all()
    half = image.load(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 128))))
    np.testing.assert_allclose(half[0, 0], [255, 127, 127], atol=1)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30])
    assert (image.load(encoded(palette, transparency=0)) == 255).all()
    assert (image.load(encoded(Image.new("LA", (2, 2), (0, 0)))) == 255).all()


def bomb():
    """A PNG header that promises 40,000 x 40,000 pixels and carries none."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes"),
        (b"\x00", "no known format"),
        (b"not an image at all", "no known format"),
        (encoded(Image.new("RGB", (64, 64), "red"), "JPEG")[:400], "[Tt]runcated"),
        (encoded(Image.effect_noise((64, 64), 50))[:500], "Cannot read an image"),
        (bomb(), "exceeds limit|40000 x 40000 pixels"),
    ],
)
def test_bad_files_are_named_in_three_parts(tmp_path, data, reason):
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"(?s)({reason}).*Expected.*Received: source='.*bad.png'"):
        image.load(path)


def test_the_pixel_limit_is_a_parameter():
    data = encoded(Image.new("RGB", (50, 40)))
    assert image.load(data, max_pixels=2000).shape == (40, 50, 3)
    with pytest.raises(ValueError, match=r"50 x 40 pixels.*at most 1999"):
        image.load(data, max_pixels=1999)


def test_a_missing_file_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        image.load(tmp_path / "gone.png")

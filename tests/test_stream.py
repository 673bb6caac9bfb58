"""Data sets of all kinds as numbered rows of images."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zfkeras import image
from zfkeras.data.sources import from_arrays
from zfkeras.data.stream import open_folder, stream

SIZE = (5, 7, 3)


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (8, *SIZE)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, rng):
    """Two classes of two pictures, and one that is torn."""
    for number, name in enumerate(["b/2", "a/1", "b/1", "a/0"]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 26, 3), 40 * number, np.uint8)).save(path)
    (tmp_path / "b/torn.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def everything(row, batch_size=3, **part):
    """All batches in one, without padding."""
    batches = list(row.batches(batch_size, **part))
    assert all(len(batch.images) == len(batch.keys) == batch_size for batch in batches)
    pixels = np.concatenate([batch.images.numpy() for batch in batches])
    keys = np.concatenate([batch.keys for batch in batches])
    assert (pixels[keys < 0] == 0).all()
    return pixels[keys >= 0], keys[keys >= 0].tolist(), batches


@pytest.mark.parametrize("batch_size", [1, 3, 8, 11])
def test_an_array_is_read_in_order(images, batch_size):
    pixels, keys, batches = everything(stream(images, SIZE), batch_size)
    np.testing.assert_array_equal(pixels, images)
    assert keys == list(range(8))
    assert pixels.dtype == np.uint8
    assert set(batches[0].labels.tolist()) == {-1}
    assert set(batches[0].files.tolist()) == {b""}


def test_a_part_is_read(images):
    pixels, keys, _ = everything(stream(images, SIZE), start=3, stop=7)
    assert keys == [3, 4, 5, 6]
    np.testing.assert_array_equal(pixels, images[3:7])
    assert everything(stream(images, SIZE), start=5)[1] == [5, 6, 7]


@pytest.mark.parametrize("is_batched", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_data_set_is_read(images, parts, is_batched):
    elements = (images, np.arange(8) % 3, [f"f{i}" for i in range(8)])[:parts]
    data = tf.data.Dataset.from_tensor_slices(elements if parts > 1 else elements[0])
    data = data.batch(5) if is_batched else data
    pixels, keys, batches = everything(stream(data, SIZE), 8)
    np.testing.assert_array_equal(pixels, images)
    assert keys == list(range(8))
    assert batches[0].labels.tolist() == ([i % 3 for i in range(8)] if parts > 1 else [-1] * 8)
    assert batches[0].files.tolist() == ([b"f%d" % i for i in range(8)] if parts > 2 else [b""] * 8)


def test_a_folder_is_read_by_class_and_name_without_bad_files(folder):
    with pytest.warns(UserWarning, match=r"1 pictures can't be read.*b/torn.jpg"):
        row = stream(folder, SIZE)
    assert row.class_names == ("a", "b")
    assert row.cardinality == 4
    assert [skip.name for skip in row.skipped] == ["b/torn.jpg"]
    pixels, _, batches = everything(row, 4)
    assert batches[0].files.tolist() == [b"a/0.png", b"a/1.png", b"b/1.png", b"b/2.png"]
    assert batches[0].labels.tolist() == [0, 0, 1, 1]
    assert pixels[:, 0, 0, 0].round().tolist() == [120, 40, 80, 0]
    assert pixels.shape[1:] == SIZE


def test_a_folder_of_nothing_but_pictures_has_no_classes(folder):
    row = stream(folder / "a", SIZE)
    assert row.class_names == ()
    _, _, batches = everything(row, 2)
    assert batches[0].labels.tolist() == [-1, -1]
    assert batches[0].files.tolist() == [b"a/0.png", b"a/1.png"]


def test_the_same_folder_elsewhere_is_the_same_data_set(folder, tmp_path_factory):
    (folder / "b/torn.jpg").unlink()
    elsewhere = tmp_path_factory.mktemp("other") / "place"
    folder.rename(elsewhere)
    first = stream(elsewhere, SIZE).identity
    elsewhere.rename(folder)
    assert stream(folder, SIZE).identity == first
    assert stream(folder, SIZE, scale=1.5).identity != first
    (folder / "a/1.png").rename(folder / "a/2.png")
    assert stream(folder, SIZE).identity != first


def test_single_images_are_picked_by_key(images):
    row = stream(from_arrays(images, np.arange(8) % 2, ["even", "odd"]), SIZE, scale=1.0)
    pixels, labels, files = row.pick([6, 1, 6])
    np.testing.assert_allclose(pixels, images[[6, 1, 6]], atol=1e-3)
    assert labels.tolist() == [0, 1, 0]
    assert files.tolist() == ["", "", ""]
    with pytest.raises(ValueError, match="no image 8; allowed are 0 to 7. Received: keys="):
        row.pick([3, 8])


def test_picked_images_are_those_of_the_batches(folder):
    row = stream(open_folder(folder), SIZE)
    pixels, _, _ = everything(row)
    np.testing.assert_array_equal(row.pick([3, 0])[0], pixels[[3, 0]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 5, 8, 3)), "fit the model's input.*Received: images of shape"),
        (np.zeros((2, 5, 7)), "fit the model's input"),
        (np.zeros((0, *SIZE)), "empty"),
        (tf.data.Dataset.from_tensor_slices(np.zeros((2, 5, 8, 3))), "fit the model's input"),
        (tf.data.Dataset.from_tensor_slices({"image": np.zeros((2, *SIZE))}), "elements must be"),
        (tf.data.Dataset.from_tensor_slices(np.zeros((2, *SIZE))).repeat(), "no end.*Received"),
        (
            tf.data.Dataset.from_tensor_slices((np.zeros((2, *SIZE)), np.eye(2))),
            "Labels must be integers.*Received",
        ),
        ("no/such/folder", "no such folder.*Received"),
    ],
)
def test_what_does_not_fit_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        stream(data, SIZE)


def test_other_things_are_no_data_set():
    with pytest.raises(TypeError, match="`dataset` must be.*Received: dataset of type int"):
        stream(3, SIZE)
    with pytest.raises(TypeError, match="must be numbers.*Received: images of dtype"):
        stream(np.full((2, *SIZE), "x"), SIZE)


def test_an_image_of_another_size_is_named_when_it_comes(images):
    def mixed():
        yield images[0]
        yield images[0, :4]

    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    row = stream(tf.data.Dataset.from_generator(mixed, output_signature=spec), SIZE)
    assert row.cardinality == -1
    with pytest.raises(ValueError, match="after number -1 can't be read.*Received: dataset="):
        list(row.batches(2))


def test_pictures_need_a_fixed_size(images):
    source = from_arrays(images, np.zeros(8, int), ["a"])
    with pytest.raises(ValueError, match="must be fixed. Received: input size="):
        stream(source, (None, None, 3))


def test_pictures_beside_directories_are_named(tmp_path):
    for name in ("a.png", "b.png", "cat/c.png"):
        image.save(tmp_path / name, np.zeros((5, 6, 3), np.uint8))
    source = open_folder(tmp_path)
    assert (source.class_names, source.cardinality) == (("cat",), 1)
    assert [skip.name for skip in source.skipped] == ["a.png", "b.png"]


@pytest.mark.parametrize("directory", [".ipynb_checkpoints", "__MACOSX", "notes"])
def test_a_folder_of_pictures_may_have_a_directory_without(directory, tmp_path):
    image.save(tmp_path / "a.png", np.zeros((5, 6, 3), np.uint8))
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "text.md").write_text("")
    source = open_folder(tmp_path)
    assert (source.class_names, source.cardinality) == ((), 1)

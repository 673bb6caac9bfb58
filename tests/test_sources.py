"""Folders, TFDS and arrays as sources; bad files; batches that can be replayed."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from strangers import LITTER

from zfkeras.data import folders
from zfkeras.data.batches import evaluation_batches, training_batches
from zfkeras.data.folders import image_folder
from zfkeras.data.pictures import picture_files
from zfkeras.data.preprocess import Augmentation, ten_crop
from zfkeras.data.sources import Skipped, first_line, from_arrays, from_tfds, hold_out
from zfkeras.data.walk import files_below
from zfkeras.models.loading import load_class_names


def save(path, colour=(200, 30, 60), size=(31, 23), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes with 3 and 2 pictures, one of them deeper."""
    for i in range(3):
        save(tmp_path / "cat" / f"{i}.jpg", (200, 30, 10 * i))
    save(tmp_path / "dog" / "a.PNG", (10, 200, 0))
    save(tmp_path / "dog" / "more" / "b.jpeg", (10, 200, 99))
    (tmp_path / "readme.txt").write_text("not a class")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def labels(source):
    return [int(label) for _, label in source.examples]


# === Folders ===


def test_directories_are_the_classes(folder):
    source = image_folder(folder)
    assert source.class_names == ("cat", "dog")
    assert (source.cardinality, source.skipped, source.name) == (5, (), str(folder))
    assert labels(source) == [0, 0, 0, 1, 1]
    image, label = next(iter(source.examples))
    assert (image.dtype, image.shape, label.dtype) == (tf.uint8, (23, 31, 3), tf.int64)


def test_members_and_class_names_choose(folder):
    source = image_folder(folder, members=["dog/more/b.jpeg", "cat/1.jpg"])
    assert labels(source) == [0, 1]
    source = image_folder(folder, class_names=("bird", "dog"))
    assert (source.class_names, labels(source)) == (("bird", "dog"), [1, 1])
    with pytest.raises(ValueError, match="none of the classes.*Received: member='cow/1.jpg'"):
        image_folder(folder, members=["cow/1.jpg"])


def test_one_class_is_enough(tmp_path):
    save(tmp_path / "only" / "1.jpg")
    assert image_folder(tmp_path).class_names == ("only",)


def truncated(path):
    save(path, size=(300, 200))
    path.write_bytes(path.read_bytes()[:-600])


def bomb(path):
    save(path)
    contents = bytearray(path.read_bytes())
    start = contents.index(b"\xff\xc0") + 5  # the size, in the start-of-frame segment
    contents[start : start + 4] = (60000).to_bytes(2) * 2
    path.write_bytes(contents)


BAD = {
    "empty.jpg": (lambda p: p.write_bytes(b""), "the file is empty"),
    "text.jpg": (lambda p: p.write_text("hello, I am no picture"), "no known format"),
    "truncated.jpg": (truncated, "jpeg|JPEG|truncated"),
    "bomb.jpg": (bomb, "must have 1 to 67108864 pixels"),
    "broken.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "pixels"),
    "dangling.jpg": (lambda p: p.symlink_to("nowhere"), "No such file"),
}
GOOD = {
    "grey.jpg": lambda p: save(p, mode="L"),
    "cmyk.jpg": lambda p: save(p, mode="CMYK"),
    "alpha.png": lambda p: save(p, mode="RGBA"),
    "deep.png": lambda p: Image.fromarray(np.full((9, 8), 700, np.uint16)).save(p),
    "a_png.jpg": lambda p: Image.new("RGB", (9, 8)).save(p, "PNG"),
}


def test_bad_pictures_are_skipped_with_their_names_and_odd_ones_are_not(tmp_path):
    (tmp_path / "cat").mkdir()
    for name, (make, _) in BAD.items():
        make(tmp_path / "cat" / name)
    for name, make in GOOD.items():
        make(tmp_path / "cat" / name)
    source = image_folder(tmp_path)
    assert {skip.name for skip in source.skipped} == {f"cat/{name}" for name in BAD}
    for skip in source.skipped:
        assert tf.strings.regex_full_match(
            skip.reason, f"(.|\n)*({BAD[skip.name.split('/')[1]][1]})(.|\n)*"
        ), skip
        assert "\n" not in skip.reason
        assert "tf." not in skip.reason
    assert source.cardinality == len(GOOD)
    shapes = [image.shape for image, _ in source.examples]
    assert len(shapes) == len(GOOD)
    assert all(shape[2] == 3 for shape in shapes)


def test_without_the_check_nothing_is_opened(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "empty.jpg").write_bytes(b"")
    assert image_folder(tmp_path, check=False).cardinality == 1


def test_the_check_is_remembered_until_a_file_changes(folder, tmp_path, monkeypatch):
    cache = tmp_path / "checked.json"
    (folder / "cat" / "bad.jpg").write_text("no")
    first = image_folder(folder, cache=cache)
    assert [skip.name for skip in first.skipped] == ["cat/bad.jpg"]
    opened = []
    reason = folders._reason
    monkeypatch.setattr(
        folders, "_reason", lambda p: opened.append(p.rsplit("/", 1)[-1]) or reason(p)
    )
    again = image_folder(folder, cache=cache)
    assert (opened, again.skipped) == ([], first.skipped)
    save(folder / "cat" / "bad.jpg")
    assert image_folder(folder, cache=cache).skipped == ()
    assert opened == ["bad.jpg"]


def test_two_folders_share_a_cache(folder, tmp_path):
    cache = tmp_path / "checked.json"
    other = tmp_path.with_name(tmp_path.name + "-other")
    (other / "cat").mkdir(parents=True)
    (other / "cat" / "0.jpg").write_text("no")
    save(other / "cat" / "1.jpg")
    assert image_folder(folder, cache=cache).skipped == ()
    assert len(image_folder(other, cache=cache).skipped) == 1
    assert image_folder(folder, cache=cache).skipped == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda p: p / "absent", "no such folder.*Received: path="),
     (lambda p: p, "no directories, so there are no classes.*Received: path="),
     (lambda p: (p / "cat").mkdir() or p, "no usable picture \\(0 were skipped\\)"),
     (lambda p: save(p / "file.jpg") or p / "file.jpg", "no such folder")],
)  # fmt: skip
def test_folders_without_pictures_are_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        image_folder(make(tmp_path))


def test_a_folder_of_bad_pictures_only_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "x.jpg").write_text("no")
    with pytest.raises(ValueError, match="no usable picture \\(1 were skipped\\)"):
        image_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_directory_is_refused(folder):
    (folder / "cat").chmod(0)
    try:
        with pytest.raises(ValueError, match="can't be read.*cat"):
            image_folder(folder)
    finally:
        (folder / "cat").chmod(0o755)


def test_a_directory_that_cannot_be_listed_is_refused(folder, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match="can't be read.*Permission denied"):
        list(files_below(folder / "cat", folders.EXTENSIONS))


@pytest.mark.parametrize("strange", LITTER.values(), ids=LITTER.keys())
def test_what_lies_about_in_a_folder_is_neither_picture_nor_class(folder, strange):
    before, files = image_folder(folder), picture_files(folder)
    strange(folder)
    after = image_folder(folder)
    assert after.class_names == before.class_names
    assert (after.skipped, after.cardinality) == (before.skipped, before.cardinality)
    assert picture_files(folder) == files


@pytest.mark.parametrize("ending", ["JPG", "Jpeg", "jfif", "jpe", "JFIF"])
def test_endings_of_jpeg_files(folder, ending):
    save(folder / "dog" / "x.jpg")
    (folder / "dog" / "x.jpg").rename(folder / "dog" / f"x.{ending}")
    assert image_folder(folder).cardinality == 6
    assert folder / "dog" / f"x.{ending}" in picture_files(folder)


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n", "\n \n"])
def test_a_file_of_labels(tmp_path, start, end):
    (tmp_path / "names.txt").write_bytes(f"{start}tench\ngas pump{end}".encode())
    assert load_class_names("net.keras", tmp_path / "names.txt") == ("tench", "gas pump")


def test_there_is_no_file_of_labels(tmp_path):
    with pytest.raises(ValueError, match="no such file of labels.*Received: labels='.*gone.txt'"):
        load_class_names("net.keras", tmp_path / "gone.txt")


# === Arrays and TFDS ===


@pytest.fixture
def arrays():
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((7, 9, 8, 3), np.uint8)
    return from_arrays(images, np.arange(7) % 3, ["a", "b", "c"])


def test_arrays(arrays):
    assert labels(arrays) == [0, 1, 2, 0, 1, 2, 0]
    assert [int(image[0, 0, 0]) for image, _ in arrays.examples] == list(range(7))


@pytest.mark.parametrize(
    ("images", "truth", "message"),
    [(np.zeros((2, 5, 4)), [0, 1], "\\(N, H, W, 3\\).*images.shape=\\(2, 5, 4\\)"),
     (np.zeros((2, 5, 4, 2)), [0, 1], "images.shape=\\(2, 5, 4, 2\\)"),
     (np.zeros((2, 5, 4, 3)), [0], "2 integers.*labels.shape=\\(1,\\)"),
     (np.zeros((2, 5, 4, 3)), [0.0, 1.0], "labels.dtype=float64"),
     (np.zeros((2, 5, 4, 3)), [0, 2], "0 to 1.*from 0 to 2"),
     (np.zeros((2, 5, 4, 3)), [-1, 1], "from -1 to 1")],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(images, truth, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(images, np.array(truth), ["a", "b"])


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A small TFDS data set on disk, as `tfds` itself would have prepared it."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class Spots(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "picture": tfds.features.Image(shape=(None, None, 3)),
                "kind": tfds.features.ClassLabel(names=["red", "blue"]),
                "size": tfds.features.Scalar(tf.int64),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i in range(5):
                image = np.zeros((20 + i, 15, 3), np.uint8)
                image[..., 2 * (i % 2)] = 200
                yield i, {"picture": image, "kind": i % 2, "size": i}

    directory = tmp_path_factory.mktemp("tfds")
    Spots(data_dir=directory).download_and_prepare()
    return directory


def test_tfds_by_name_and_feature(tfds_dir):
    source = from_tfds("spots", "train", "picture", "kind", data_dir=tfds_dir)
    assert (source.class_names, source.cardinality) == (("red", "blue"), 5)
    for image, label in source.examples:
        assert image[0, 0].numpy().tolist() == [[200, 0, 0], [0, 0, 200]][label]
    assert from_tfds("spots", "train[:40%]", "picture", "kind", tfds_dir).cardinality == 2


def test_tfds_that_is_not_there_is_refused(tfds_dir):
    with pytest.raises(ValueError, match="TFDS can't give.*Received: name='spotz'"):
        from_tfds("spotz", "train", data_dir=tfds_dir)
    with pytest.raises(ValueError, match="picture, kind, size. Received: image='image'"):
        from_tfds("spots", "train", label="kind", data_dir=tfds_dir)
    with pytest.raises(ValueError, match="label='size'"):
        from_tfds("spots", "train", "picture", "size", data_dir=tfds_dir)
    with pytest.raises(ValueError, match="split='test'"):
        from_tfds("spots", "test", "picture", "kind", data_dir=tfds_dir)


# === Splitting ===


def test_hold_out_splits_into_disjoint_parts_that_cover(arrays):
    rest, held = hold_out(arrays, 3)
    values = [[int(image[0, 0, 0]) for image, _ in part.examples] for part in (rest, held)]
    assert values == [[0, 1, 3, 4, 6], [2, 5]]
    assert (rest.cardinality, held.cardinality) == (5, 2)


def test_hold_out_keeps_the_keys_of_folders(folder):
    rest, held = hold_out(image_folder(folder), 2)
    assert (labels(rest), labels(held)) == ([0, 0, 1], [0, 1])


@pytest.mark.parametrize("every", [0, 1, 8])
def test_hold_out_refuses(arrays, every):
    with pytest.raises(ValueError, match=f"of 2 to 7. Received: every={every}"):
        hold_out(arrays, every)


# === Batches ===

AUGMENTATION = Augmentation((4, 5), scale=(1.1, 1.5), colour=0.1)


def run(source, **arguments):
    batches = training_batches(source, AUGMENTATION, 3, **arguments)
    return [(images.numpy(), truth.numpy()) for images, truth in batches]


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(x, y)
        for a, b in zip(one, other, strict=True)
        for x, y in zip(a, b, strict=True)
    )


def test_batches_resume_where_they_were(arrays):
    whole = run(arrays, seed=3, epochs=4)
    assert len(whole) == 4 * 2  # 7 examples are two batches of 3; the rest is dropped
    assert same(whole, run(arrays, seed=3, epochs=4))
    assert same(whole[4:], run(arrays, seed=3, epochs=4, initial_epoch=2))
    assert not same(whole, run(arrays, seed=4, epochs=4))
    tf.random.set_seed(99)  # the pipeline depends on its own seed only
    assert same(whole, run(arrays, seed=3, epochs=4))


def test_each_epoch_has_another_order_and_other_views(arrays):
    whole = run(arrays, epochs=6)
    orders = {tuple(np.concatenate([whole[2 * e][1], whole[2 * e + 1][1]])) for e in range(6)}
    assert len(orders) > 2
    assert not same(whole[:2], whole[2:4])


def test_views_differ_between_epochs_and_between_examples():
    alike = from_arrays(np.full((4, 9, 8, 3), 99, np.uint8), np.zeros(4, int), ["a"])
    batches = training_batches(alike, AUGMENTATION, 1, epochs=3)
    views = {images.numpy().tobytes() for images, _ in batches}
    assert len(views) == 4 * 3


def test_an_epoch_shows_each_example_at_most_once():
    images = np.arange(12, dtype=np.float32)[:, None, None, None] * np.ones((12, 9, 8, 3))
    source = from_arrays(images, np.arange(12), [str(i) for i in range(12)])
    for epoch in range(3):
        batches = training_batches(source, AUGMENTATION, 4, epochs=epoch + 1, initial_epoch=epoch)
        seen = np.concatenate([truth for _, truth in batches])
        assert sorted(seen) == list(range(12))


def test_training_batches_of_a_folder(folder):
    images, truth = next(iter(training_batches(image_folder(folder), AUGMENTATION, 5)))
    assert (images.shape, images.dtype, sorted(truth.numpy())) == (
        (5, 4, 5, 3),
        tf.float32,
        [0, 0, 0, 1, 1],
    )


@pytest.mark.parametrize("batch_size", [0, 8])
def test_a_batch_must_fit(arrays, batch_size):
    with pytest.raises(ValueError, match=f"1 to 7 examples.*batch_size={batch_size}"):
        training_batches(arrays, AUGMENTATION, batch_size)


def test_evaluation_batches_are_whole_and_in_order(rng):
    images = rng.integers(0, 256, (5, 32, 40, 3), dtype=np.uint8)
    source = from_arrays(images, np.arange(5), list("abcde"))
    plain = list(evaluation_batches(source, (28, 28), 2))
    assert [len(truth) for _, truth in plain] == [2, 2, 1]
    centre = np.concatenate([batch for batch, _ in plain])
    np.testing.assert_array_equal(centre, images[:, 2:30, 6:34])  # scale 8/7: nothing to resize
    ten = np.concatenate([b for b, _ in evaluation_batches(source, (28, 28), 2, ten_crop=True)])
    np.testing.assert_array_equal(ten[3], ten_crop(tf.constant(images[3]), (28, 28)))


def test_pipelines_run_without_the_autotuner(arrays):
    for dataset in (training_batches(arrays, AUGMENTATION, 3), evaluation_batches(arrays, (4, 5))):
        assert dataset.options().autotune.enabled is False
        assert dataset.options().deterministic is True


def test_first_line():
    assert first_line(ValueError("{{node x}} 'Bad thing' [Op:Y]\nmore")) == "Bad thing"
    assert first_line(ValueError()) == "ValueError"
    assert Skipped("a", "b").reason == "b"

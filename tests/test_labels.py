"""Classes of strangers' folders: by their names, their numbers in WordNet, and misspelt."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from zfkeras import image
from zfkeras.analysis.top_result import load_results
from zfkeras.cli import app
from zfkeras.data.folders import image_folder
from zfkeras.data.labels import Labels, directories_of, read_labels

NAMES = ("Maltese dog", "pug", "tench")
WNIDS = ("n02085936", "n02110958", "n01440764")


def labels_file(path, text):
    path.write_bytes(text.encode())
    return path


PLAIN = "\n".join(NAMES) + "\n"
NUMBERED = "\n".join(f"{wnid} {name}" for wnid, name in zip(WNIDS, NAMES, strict=True))


@pytest.mark.parametrize(
    ("text", "wnids"),
    [(PLAIN, ("",) * 3), (NUMBERED, WNIDS), ("\ufeff" + NUMBERED + "\n\n\n", WNIDS),
     (NUMBERED.replace("\n", "\r\n") + "\r\n", WNIDS), (NUMBERED.replace(" ", "\t", 1), WNIDS)],
)  # fmt: skip
def test_files_of_labels(text, wnids, tmp_path):
    assert read_labels(labels_file(tmp_path / "labels.txt", text)) == Labels(NAMES, wnids)


def test_a_line_that_only_looks_like_a_number_is_a_name(tmp_path):
    text = "n02085936 Maltese dog\nplain name\n"
    found = read_labels(labels_file(tmp_path / "labels.txt", text))
    assert found.names == ("n02085936 Maltese dog", "plain name")


@pytest.mark.parametrize(
    ("directories", "expected"),
    [(["pug"], ("Maltese dog", "pug", "tench")),
     (["n02110958", "n01440764"], ("Maltese dog", "n02110958", "n01440764")),
     (["n02110958", "tench"], ("Maltese dog", "n02110958", "tench"))],
)  # fmt: skip
def test_directories_by_name_and_number(directories, expected):
    assert directories_of(Labels(NAMES, WNIDS), directories, "photos") == expected


@pytest.mark.parametrize(
    ("directories", "message"),
    [(["Pug"], "1 of the 1 directories .*: 'Pug' .did you mean 'pug'.*Expected .*Maltese dog"),
     (["pug", "maltese_dog"], "1 of the 2 .*'maltese_dog' .did you mean 'Maltese dog'"),
     (["pug", "n02085937"], "'n02085937' .did you mean 'n02085936'"),
     (["zebra"], "class: 'zebra'. Expected .*Received: path='photos' with 'zebra'")],
)  # fmt: skip
def test_a_directory_of_no_class_is_named_with_its_neighbour(directories, message):
    with pytest.raises(ValueError, match=message):
        directories_of(Labels(NAMES, WNIDS), directories, "photos")


# === Folders ===


def picture(path, grey):
    noise = np.random.default_rng(grey).integers(0, 40, (20, 24, 3))
    image.save(path, (noise + grey).astype(np.uint8))


def photos(root, directories):
    for number, name in enumerate(directories):
        for index in range(2):
            picture(root / name / f"{index}.png", 60 * number)
    return root


@pytest.mark.parametrize(
    "litter", ["__MACOSX/._1.png", ".ipynb_checkpoints/1.png", "empty/", "notes/read.txt",
               "bad/broken.png", "deep/deeper/"],
)  # fmt: skip
def test_a_directory_without_a_picture_is_no_class(tmp_path, litter):
    root = photos(tmp_path / "data", ("cat", "dog"))
    (root / litter).parent.mkdir(parents=True, exist_ok=True)
    if litter.endswith("/"):
        (root / litter).mkdir(parents=True)
    else:
        (root / litter).write_bytes(b"no picture")
    source = image_folder(root)
    assert source.class_names == ("cat", "dog")
    assert source.cardinality == 4
    visible = litter.split("/")[0] in ("empty", "notes", "bad", "deep")
    named = {skip.name: skip.reason for skip in source.skipped}
    assert (named.get(litter.split("/")[0]) == "it holds no picture, and is no class") == visible


def test_a_model_s_classes_keep_their_numbers(tmp_path):
    root = photos(tmp_path / "data", ("cat", "dog"))
    (root / "ant").mkdir()
    source = image_folder(root, class_names=("ant", "cat", "dog"))
    assert source.class_names == ("ant", "cat", "dog")
    assert [label for label, _ in source.labels_and_files()] == [1, 1, 2, 2]


# === Commands ===


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A net that tells the greys of `photos` apart: its score is highest for the nearest."""
    pixels = keras.Input((20, 24, 3))
    x = keras.layers.Conv2D(1, 1, name="conv")(keras.layers.Rescaling(1 / 255)(pixels))
    scores = keras.layers.Dense(3, name="scores")
    model = keras.Model(pixels, scores(keras.layers.GlobalAveragePooling2D()(x)))
    model.get_layer("conv").set_weights([np.full((1, 1, 3, 1), 1 / 3), np.zeros(1)])
    greys = (np.array([0, 60, 120]) + 20) / 255
    scores.set_weights([1000 * 2 * greys[None], -1000 * greys**2])
    path = tmp_path_factory.mktemp("net") / "net.keras"
    model.save(path)
    return path


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("directories", [NAMES, WNIDS, (WNIDS[0], NAMES[1], WNIDS[2])])
def test_evaluate_goes_by_names_and_numbers(net, directories, tmp_path):
    root = photos(tmp_path / "data", directories)
    labels = labels_file(tmp_path / "names.txt", NUMBERED)
    told = run("evaluate", net, "--data", root, "--labels", labels, "--json")
    assert told.exit_code == 0, told.exception
    found = json.loads(told.stdout)
    assert (found["pictures"], found["top1"]) == (6, 1.0)


@pytest.mark.parametrize("wrong", ["Pug", "pugs", "n00000001"])
def test_evaluate_leaves_no_directory_out(net, wrong, tmp_path):
    root = photos(tmp_path / "data", (NAMES[0], wrong, NAMES[2]))
    labels = labels_file(tmp_path / "names.txt", NUMBERED)
    error = run("evaluate", net, "--data", root, "--labels", labels).exception
    assert isinstance(error, ValueError)
    assert f"1 of the 3 directories are called after no class: {wrong!r}" in str(error)


def test_top_and_atlas_call_classes_by_their_names(net, tmp_path):
    root = photos(tmp_path / "data", WNIDS)
    labels = labels_file(tmp_path / "names.txt", NUMBERED)
    words = ["--data", root, "--labels", labels, "--layers", "conv", "--k", 2]
    assert run("top", "--model", net, *words, "--output", tmp_path / "top").exit_code == 0
    top = load_results(tmp_path / "top" / "top.npz")["conv"]
    assert top.class_names == tuple(NAMES[number] for number in np.argsort(WNIDS))
    assert run("atlas", net, *words, "--output", tmp_path / "atlas").exit_code == 0
    index = (tmp_path / "atlas" / "data" / "index.js").read_text()
    assert "tench" in index
    assert "n01440764/" in index  # the file's place
    assert '"n01440764"' not in index


def test_wrong_labels_of_an_atlas_are_named(net, tmp_path):
    root = photos(tmp_path / "data", ("cat", "dog"))
    labels = labels_file(tmp_path / "names.txt", "cat\ndogs\n")
    error = run("atlas", net, "--data", root, "--labels", labels, "--output", tmp_path).exception
    assert "'dog' (did you mean 'dogs'?)" in str(error)

"""`zfkeras top` and `zfkeras merge`."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from test_top_activations import small_net
from typer.testing import CliRunner

from zfkeras.analysis.top_result import load_results
from zfkeras.cli import app


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A saved net, and a folder of 3 x 3 pictures and a torn one."""
    root, rng = tmp_path_factory.mktemp("top"), np.random.default_rng(0)
    small_net().save(root / "net.keras")
    for number in range(9):
        path = root / f"data/class{number % 3}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 25, 3)).astype(np.uint8)).save(path)
    (root / "data/class1/torn.png").write_bytes(b"torn")
    return root


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def top(place, output, *more):
    common = ("--model", place / "net.keras", "--data", place / "data", "--batch-size", 2)
    return run("top", *common, "--output", output, "--k", 2, *more)


@pytest.fixture(scope="module")
def tfds_split(place, tmp_path_factory):
    """The pictures that aren't torn, as a TFDS split on disk."""
    tfds = pytest.importorskip("tensorflow_datasets")
    paths = [path for path in sorted(place.glob("data/*/*.png")) if path.stem != "torn"]

    class Specks(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["class0", "class1", "class2"]),
            })  # fmt: skip
            return tfds.core.DatasetInfo(
                builder=self, features=features, supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager):
            return {"validation": self._generate_examples()}

        def _generate_examples(self):
            for path in paths:
                yield path.stem, {"image": str(path), "label": path.parent.name}

    directory = tmp_path_factory.mktemp("tfds")
    Specks(data_dir=directory).download_and_prepare()
    tfds.core.add_data_dir(str(directory))
    return "tfds:specks/validation"


def test_a_tfds_split_gives_what_its_pictures_in_a_folder_give(place, tfds_split, tmp_path):
    top(place, tmp_path / "folder")
    top(place, tmp_path / "tfds", "--data", tfds_split)
    folder, split = (load_results(tmp_path / name / "top.npz") for name in ("folder", "tfds"))
    for layer, found in folder.items():
        np.testing.assert_array_equal(split[layer].values, found.values)
        np.testing.assert_array_equal(split[layer].positions, found.positions)
    classes = []
    for name in ("folder", "tfds"):
        with (tmp_path / name / "units.csv").open() as file:
            classes.append([row["class"] for row in csv.DictReader(file)])
    assert classes[0] == classes[1]


def test_top_writes_arrays_and_tables(place, tmp_path):
    summary = json.loads(top(place, tmp_path, "--json").stdout)
    assert summary["images"] == 9
    assert summary["complete"] is True
    assert summary["layers"] == {"conv1": 5, "conv2": 7}
    assert summary["skipped"] == ["class1/torn.png"]
    results = load_results(tmp_path / "top.npz")
    with (tmp_path / "units.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (5 + 7)
    for row in rows:
        found, at = results[row["layer"]], (int(row["map"]), int(row["rank"]))
        assert np.float32(row["value"]) == found.values[at]
        assert [int(row["row"]), int(row["column"])] == found.positions[at].tolist()
        assert int(row["key"]) == found.keys[at]
        assert row["file"] == found.files[at]
        assert row["file"].split("/")[0] == row["class"]
    with (tmp_path / "maps.csv").open() as file:
        maps = list(csv.DictReader(file))
    assert [row["layer"] for row in maps] == ["conv1"] * 5 + ["conv2"] * 7
    statistics = results["conv2"].statistics
    for row, mean, best in zip(maps[5:], statistics.mean, statistics.best_class, strict=True):
        assert int(row["images"]) == 9
        assert float(row["mean"]) == pytest.approx(mean)
        assert row["best_class"] == f"class{best}"


@pytest.mark.slow
def test_shards_merge_to_the_same_files(place, tmp_path):
    top(place, tmp_path / "whole", "--layers", "conv2,scores")
    for shard in range(3):
        folder = tmp_path / f"part{shard}"
        result = top(place, folder, "--layers", "conv2,scores", "--shard", f"{shard}/3")
        assert "the data set has 9" in result.stdout
        assert "class1/torn.png" in result.stderr
    parts = [tmp_path / "part2/top-2-of-3.npz", tmp_path / "part0", tmp_path / "part1"]
    result = run("merge", *parts, "--output", tmp_path / "all")
    assert result.stdout.endswith(f"9 pictures (0 to 9). Results are in {tmp_path / 'all'}.\n")
    for name in ("top.npz", "units.csv", "maps.csv"):
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_bad_options_are_named(place, tmp_path):
    with pytest.raises(ValueError, match="--shard must be I/N.*Received: --shard 3"):
        top(place, tmp_path, "--shard", "3")
    with pytest.raises(ValueError, match="Received: shard=\\(3, 3\\)"):
        top(place, tmp_path, "--shard", "3/3")
    with pytest.raises(ValueError, match="no layer of this name"):
        top(place, tmp_path, "--layers", "conv7")
    with pytest.raises(ValueError, match="no result here.*Received"):
        run("merge", tmp_path / "nothing", "--output", tmp_path)


@pytest.mark.parametrize("command", ["top", "atlas"])
def test_a_layer_that_is_not_there_is_named_before_pictures_are_read(command, place, tmp_path):
    model = ["--model", place / "net.keras"] if command == "top" else [place / "net.keras"]
    words = [command, *model, "--data", place / "data", "--layers", "nowhere"]
    with pytest.raises(ValueError, match="nowhere"):
        run(*words, "--output", tmp_path / "out")
    assert not (tmp_path / "out" / "checked.json").exists()

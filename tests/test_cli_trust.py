"""The commands of invariance, correspondence and trust, on a tiny net in a file."""

import json
import re

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from zfkeras import image
from zfkeras.analysis.occlusion_result import Occlusion
from zfkeras.cli import app
from zfkeras.cli.telling import _score_lines
from zfkeras.experiments import fig7
from zfkeras.report import occlusion as drawing

SIZE = (24, 31)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a net, the names of its classes, three pictures and their landmarks."""
    root = tmp_path_factory.mktemp("trust")
    keras.utils.set_random_seed(4)
    net = keras.Sequential([
        keras.Input((*SIZE, 3)),
        keras.layers.Rescaling(1 / 64, offset=-2, name="scale"),
        keras.layers.Conv2D(5, 3, activation="relu", name="conv5"),
        keras.layers.MaxPooling2D(2, name="pool5"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(6, activation="relu", name="fc7"),
        keras.layers.Dense(3, name="logits"),
    ])  # fmt: skip
    net.save(root / "net.keras")
    (root / "labels.txt").write_text("cat\ndog\nfish\n")
    rng, marks = np.random.default_rng(0), []
    for number in range(3):
        coarse = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
        image.save(root / "pictures" / f"{number}.png", coarse.repeat(8, 0).repeat(8, 1))
        parts = {"eye": [8 + number, 12], "nose": [20, 18 + number]}
        marks.append({"file": f"{number}.png", "parts": parts, "class": number})
    (root / "pictures" / "marks.json").write_text(json.dumps(marks))
    return root


def run(place, *arguments, code=0):
    """Runs a command with --json into its own folder; its answer and what it wrote."""
    output = place / "-".join(arguments[:2]).replace("/", "_").replace(".", "_")[-60:]
    full = [*arguments, "--model", str(place / "net.keras"), "--output", str(output), "--json"]
    result = CliRunner().invoke(app, full, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout), {file.name for file in output.iterdir()}


def test_invariance(place):
    told, files = run(
        place, "invariance", str(place / "pictures"), "--layers", "conv5,fc7",
        "--kinds", "scale", "--classes", "1",
    )  # fmt: skip
    assert files == {"invariance.png", "invariance-unit.png", "invariance.npz", "invariance.json"}
    assert told["layers"]["classes"] == ["dog"] * 3
    assert told["layers"]["scale"]["largest"]["amount"] == 1.8
    assert set(told["layers"]["scale"]["small"]["unit_distance"]) == {"conv5", "fc7"}


def test_correspond_and_its_figures(place):
    marks = str(place / "pictures" / "marks.json")
    told, files = run(place, "correspond", marks, "--draws", "2")
    assert files == {"table1.png", "table1.md", "table1.npz", "fig8.png", "correspondence.json"}
    assert told["hiding"].keys() == {"eye", "nose", "all parts"}
    rows = told["random_parts"]["anywhere"]["distances"]["table"]
    assert rows[0] == "| Occlusion location | pool5 | fc7 |"
    assert [row.split(" |")[0] for row in rows[2:]] == ["| Eye", "| Nose", "| Random"]
    assert [one["class"] for one in told["fig8"]["images"]] == ["cat", "dog", "fish"]


def test_compare(place):
    told, files = run(
        place, "compare", str(place / "pictures" / "0.png"), "--steps", "3", "--layer", "pool5",
        "--methods", "deconvnet,gradcam,random",
    )  # fmt: skip
    assert files == {"comparison.png", "curves.png", "comparison.npz", "comparison.json"}
    assert told["scores"].keys() == {"deconvnet", "gradcam", "random"}
    assert told["scores"]["random"].keys() == {"deletion", "insertion"}


def test_faithfulness(place):
    told, files = run(
        place, "faithfulness", str(place / "pictures"), "--methods", "guided,random", "--steps", "2"
    )
    assert {"picture.png", "curves.png", "similarity.png", "randomisation.png"} < files
    assert told["scores"]["random"]["cascading"] == pytest.approx(1)
    assert told["scores"]["guided"]["all shuffled"] < 0.9


@pytest.mark.parametrize("figure", ["fig5", "fig7", "fig8", "table1"])
def test_reproduce(place, figure):
    pictures = place / "pictures"
    options = ["--landmarks", str(pictures / "marks.json")] if figure in ("fig8", "table1") else []
    options += ["--layers", "conv5,fc7"] if figure == "fig5" else []
    told, files = run(place, "reproduce", figure, "--images", str(pictures), *options)
    assert told["figure"] == figure
    assert f"{figure}.json" in files
    if figure == "fig7":
        assert {"fig7-1.png", "fig7-1-others.png", "fig7.npz"} < files
        assert told["images"][0]["lowest_map_total"] <= told["images"][0]["map_total"] + 1e-3


def test_fig7_projects_the_map_from_other_pictures(place, rng):
    net = keras.models.load_model(place / "net.keras")
    pictures = np.stack([image.load(place / "pictures" / f"{n}.png")[:24, :31] for n in range(2)])
    others = rng.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    told = fig7.run(net, pictures, place / "fig7", "conv5", others=others, patch_size=9)
    found = Occlusion.load(told["arrays"])
    assert told["projection_error"] is None
    for number, row in enumerate(told["images"]):
        assert image.load(row["others"]).shape[1] > 500
        sheet = drawing.others(found, others, number)
        assert sheet.shape == (2 * 26 + 2, 3 * 33 + 2, 3)
        np.testing.assert_array_equal(sheet[2:26, 2:33], others[found.others[number, 0]])


def test_reproduce_fig7_with_others(place):
    pictures = place / "pictures"
    one, elsewhere = str(sorted(pictures.glob("*.png"))[0]), ("--others", str(pictures))
    told, _ = run(place, "reproduce", "fig7", "--images", one)
    assert told["images"][0]["others"] is None
    told, _ = run(place, "reproduce", "fig7", "--images", one, *elsewhere)
    assert image.load(told["images"][0]["others"]).shape[1] > image.load(one).shape[1]


def test_check(place):
    result = CliRunner().invoke(app, ["check", str(place / "net.keras")])
    assert result.exit_code == 0
    assert "6 of 6 layers can be projected" in result.stdout
    net = keras.Sequential([
        keras.Input((9, 8, 3)), keras.layers.Conv2D(2, 3, activation="gelu", name="gelu"),
    ])  # fmt: skip
    net.save(place / "gelu.keras")
    result = CliRunner().invoke(app, ["check", str(place / "gelu.keras"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["unreachable"] == ["gelu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "table1"], "table1 needs --landmarks.*no --landmarks"),
        (["invariance", "PICTURES"], "no layers norm1 and fc7.*--layers ''"),
        (["compare", "PICTURES", "--methods", "lime"], "Received: method='lime'"),
        (["compare", "PICTURES", "--classes", "x"], "--classes must be numbers"),
        (["compare", "nowhere"], "No such file or folder.*path='nowhere'"),
    ],
)
def test_bad_input(place, arguments, message):
    arguments = [str(place / "pictures") if a == "PICTURES" else a for a in arguments]
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(
            app, [*arguments, "--model", str(place / "net.keras")], catch_exceptions=False
        )


@pytest.mark.slow
def test_faithfulness_leaves_out_what_would_take_too_long(place, monkeypatch, tmp_path):
    picture = str(sorted((place / "pictures").glob("*.png"))[0])
    words = ["faithfulness", picture, "--model", str(place / "net.keras"), "--steps", "2"]
    words += ["--output", str(tmp_path), "--json"]

    def asked(patience, *more):
        monkeypatch.setattr("zfkeras.cli.compare.PATIENCE", patience)
        result = CliRunner().invoke(app, [*words, *more], catch_exceptions=False)
        return json.loads(result.stdout)["scores"], result.stderr

    scores, said = asked(1e-9)
    assert "occlusion" not in scores
    assert re.search(r"Occlusion is left out: of \d+ nets.*--methods occlusion", said)
    scores, said = asked(1e-9, "--methods", "occlusion")
    assert list(scores) == ["occlusion"]
    scores, said = asked(1e9)
    assert "occlusion" in scores
    assert "left out" not in said


def test_columns_of_scores_do_not_collide():
    columns = ("deletion", "insertion", "cascading", "all shuffled", "independent")
    header, row = _score_lines({"gradient_x_input": dict.fromkeys(columns, -0.125)})
    assert all(f" {column}" in header for column in columns)
    assert len(header) == len(row)

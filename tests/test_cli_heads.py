"""What the commands make of a net's head: the flags against `model.predict`."""

import json

import keras
import numpy as np
import pytest
from heads import predicted, sigmoid, softmax
from typer.testing import CliRunner

from zfkeras import image
from zfkeras.cli import app
from zfkeras.cli.groups import Head

L = keras.layers
SIZE = (20, 24)


def save(path, head):
    keras.utils.set_random_seed(7)
    pixels = keras.Input((*SIZE, 3))
    x = L.Rescaling(1 / 255)(pixels)
    x = L.MaxPooling2D(2)(L.Conv2D(4, 3, activation="relu", name="conv")(x))
    keras.Model(pixels, head(L.Flatten()(x))).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with nets, two pictures in two classes, and landmarks."""
    root = tmp_path_factory.mktemp("heads")
    save(root / "sigmoid.keras", L.Dense(1, "sigmoid"))
    save(root / "logit.keras", L.Dense(1))
    save(root / "many.keras", L.Dense(3, "sigmoid"))
    save(root / "logits.keras", L.Dense(3))
    save(root / "two.keras", lambda x: {"kind": L.Dense(3)(x), "age": L.Dense(1, "relu")(x)})
    (root / "both.txt").write_text("cat\ndog\n")
    rng, marks = np.random.default_rng(1), []
    for number, name in enumerate(("cat", "dog")):
        picture = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        image.save(root / "pictures" / name / f"{number}.png", picture)
        marks.append({"file": f"{name}/{number}.png", "parts": {"eye": [8, 9 + number]}})
    (root / "pictures" / "marks.json").write_text(json.dumps(marks))
    return root


def pictures(place):
    files = sorted((place / "pictures").glob("*/*.png"))
    return files, np.stack([image.load(file) for file in files]).astype(np.float32)


def answer(place, net):
    return predicted(keras.models.load_model(place / net), pictures(place)[1])


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


# Of each net: flags, what its outputs mean then, what a score is called.
READINGS = {
    "sigmoid": ([], lambda y: y, "probability"),
    "logit": ([], lambda y: y, "score"),
    "logit, as a probability": (["--sigmoid"], sigmoid, "probability"),
    "many": ([], lambda y: y, "probability"),
    "logits": ([], softmax, "probability"),
    "logits, said": (["--softmax"], softmax, "probability"),
    "logits, raw": (["--no-softmax"], lambda y: y, "score"),
}


def commands(place, tmp_path):
    """Of each command its words, and where the watched scores of the pictures are in its JSON."""
    files, _ = pictures(place)
    out = ["--output", tmp_path / "out", "--json"]
    return {
        "occlude": (["occlude", *files, "--patch-size", 9, "--strides", 6, *out],
                    lambda found: [one["whole"] for one in found]),
        "invariance": (["invariance", *files, "--layers", "conv", "--kinds", "vertical", *out],
                       lambda found: found["layers"]["p"]),
        "correspond": (["correspond", place / "pictures" / "marks.json", "--layers", "conv",
                        "--draws", 1, *out],
                       lambda found: [one["p"] for one in found["fig8"]["images"]]),
        "compare": (["compare", *files, "--methods", "guided,occlusion", "--steps", 3, *out],
                    lambda found: found["p"]),
        "fig7": (["reproduce", "fig7", "--images", place / "pictures", "--layers", "conv", *out],
                 lambda found: [one["p"] for one in found["images"]]),
        "fig8": (["reproduce", "fig8", "--images", place / "pictures", "--layers", "conv",
                  "--landmarks", place / "pictures" / "marks.json", *out],
                 lambda found: [one["p"] for one in found["images"]]),
    }  # fmt: skip


COMMANDS = ("occlude", "invariance", "correspond", "compare", "fig7", "fig8")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", READINGS)
def test_commands_show_what_the_head_means(command, name, place, tmp_path):
    flags, meaning, score_name = READINGS[name]
    words, scores = commands(place, tmp_path)[command]
    net = f"{name.partition(',')[0]}.keras"
    result = run(*words, "--model", place / net, *flags)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = meaning(answer(place, net)).max(1)
    np.testing.assert_allclose(scores(found), expected, rtol=1e-3, atol=1e-4)
    if command == "occlude":
        assert all(one[score_name] == one["whole"] for one in found)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_the_outputs_there_are(command, place, tmp_path):
    words, scores = commands(place, tmp_path)[command]
    model = ["--model", place / "two.keras"]
    result = run(*words, *model)
    assert isinstance(result.exception, ValueError)
    assert "Expected the name of one: 'age', 'kind'. Received: output=None" in str(result.exception)
    result = run(*words, *model, "--output-name", "age")
    assert result.exit_code == 0, result.output
    y = keras.models.load_model(place / "two.keras").predict(pictures(place)[1], verbose=0)
    found = scores(json.loads(result.stdout))
    np.testing.assert_allclose(found, y["age"][:, 0], rtol=1e-3, atol=1e-4)


def test_a_probability_of_one_of_two_classes_has_the_second_ones_name(place, tmp_path):
    words, _ = commands(place, tmp_path)["occlude"]
    result = run(*words, "--model", place / "sigmoid.keras", "--labels", place / "both.txt")
    assert {one["class"] for one in json.loads(result.stdout)} == {"dog"}
    result = run(*words, "--model", place / "logit.keras", "--labels", place / "both.txt")
    assert "Expected 1 names" in str(result.exception)


@pytest.mark.parametrize(("net", "flags"), [("sigmoid", []), ("logit", ["--sigmoid"])])
def test_evaluate_of_a_net_with_one_output(net, flags, place):
    result = run("evaluate", place / f"{net}.keras", "--data", place / "pictures", "--json", *flags)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == 2


def test_evaluate_does_not_take_a_score_for_a_probability(place):
    result = run("evaluate", place / "logit.keras", "--data", place / "pictures", "--json")
    assert "one output for each of the 2 classes" in str(result.exception)


@pytest.mark.slow
def test_export_and_what_it_says_of_itself(place, tmp_path):
    for flags, expected in ([], "score"), (["--sigmoid"], "probability"):
        out = tmp_path / expected
        result = run("export", place / "logit.keras", out, "--json", *flags)
        assert result.exit_code == 0, result.output
        told = json.loads((out / "1" / "assets" / "zfkeras.json").read_text())
        assert told["score_name"] == expected
    result = run("export", place / "two.keras", tmp_path / "m")
    assert "several outputs" in str(result.exception)
    result = run("export", place / "two.keras", tmp_path / "m", "--output-name", "kind", "--json")
    assert result.exit_code == 0, result.output


def test_compare_skips_what_does_not_suit_and_says_so(place, tmp_path):
    save(tmp_path / "gelu.keras", lambda x: L.Dense(3)(L.Dense(6, "gelu")(x)))
    files, _ = pictures(place)
    result = run(
        "compare", *files, "--model", tmp_path / "gelu.keras", "--steps", 2, "--json",
        "--methods", "deconvnet_logit,gradient_x_input,random", "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["scores"]) == ["gradient_x_input", "random"]
    assert "gelu" in found["skipped"]["deconvnet_logit"]
    assert "skipped deconvnet_logit: " in result.stderr


@pytest.mark.parametrize("softmax_flag", [True, False])
def test_one_thing_is_said_of_the_scores(softmax_flag):
    word = "--softmax" if softmax_flag else "--no-softmax"
    with pytest.raises(ValueError, match=f"said twice.*Received: --sigmoid and {word}"):
        Head(softmax_flag, True, None, None)


def test_nothing_is_said_of_scores_that_are_not_wanted(place, tmp_path):
    words, _ = commands(place, tmp_path)["occlude"]
    result = run(*words, "--no-scores", "--sigmoid")
    assert "Received: --no-scores, softmax=None, sigmoid=True" in str(result.exception)

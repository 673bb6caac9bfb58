"""Every command and every public function on every stranger: the right value, or a clear error.

A new command or function belongs into one of the tables here; a test says if it does not.
"""

import json
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import pytest
import strangers
import tensorflow as tf
import typer
from strangers import NETS, SIZE
from typer.testing import CliRunner

import zfkeras as zf
from zfkeras import image
from zfkeras.cli import app
from zfkeras.server import ModelConfig, serving

pytestmark = pytest.mark.slow
REFUSALS = (ValueError, TypeError, OSError, ImportError)  # those that `main` tells in a line
PARTS = r"(?si)(Expected|allowed|must be|needed|must have).*Received: "


@dataclass
class Visit:
    """A stranger's net in a folder with pictures of three classes."""

    name: str
    place: Path
    model: keras.Model

    @property
    def kind(self):
        return NETS[self.name]

    @property
    def path(self):
        return self.place / f"{strangers.file_name(self.name)}{self.kind.ending}"

    @property
    def files(self):
        return sorted((self.place / "pictures").glob("*/*.png"))

    @cached_property
    def images(self):
        """The pictures as the net takes them, in float32; they are of its size."""
        found = np.stack([image.load(file) for file in self.files])
        if self.kind.channels == 1:
            return image.to_grey(found).astype(np.float32)
        extra = found[..., : self.kind.channels - 3]
        return np.concatenate([found, extra], -1).astype(np.float32)

    @cached_property
    def scores(self):
        return self.kind.scores(self.model, self.images)

    @cached_property
    def maps(self):
        return self.kind.activations(self.model, self.images)

    @property
    def head(self):
        return ["--output-name", self.kind.output] if self.kind.output else []

    @property
    def asked(self):
        """How the library's functions must be told what the outputs mean."""
        if self.name == "subclassed":
            return {"scores": "softmax"}
        return {"output": self.kind.output} if self.kind.output else {}

    @cached_property
    def strongest(self):
        """(image, row, column, channel) of the strongest unit of the layer looked at."""
        return np.unravel_index(self.maps.argmax(), self.maps.shape)

    @cached_property
    def gradient(self):
        """(H, W, C) of that unit with respect to its picture, times the unit: by TensorFlow."""
        pixels = tf.Variable(self.images[self.strongest[0]][None])
        with tf.GradientTape() as tape:
            unit = self.kind.traced(self.model, pixels)[0, *self.strongest[1:]]
        return float(unit) * tape.gradient(unit, pixels)[0].numpy()

    def close(self, found, expected):
        loose = 0.02 if self.name in ("mixed_float16", "int8") else 2e-3
        np.testing.assert_allclose(found, expected, rtol=loose, atol=loose / 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("strangers")
    rng, marks = np.random.default_rng(1), []
    for number in range(6):
        name = f"{('cat', 'dog', 'eel')[number // 2]}/{number}.png"
        rough = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        for folder in ("pictures", "two")[: 1 + (number < 4)]:
            image.save(root / folder / name, image.fit(rough, SIZE, "stretch"))
        marks.append({"file": name, "parts": {"eye": [8, 9 + number]}})
    (root / "pictures" / "marks.json").write_text(json.dumps(marks))
    return root


@pytest.fixture(scope="module")
def visits(place):
    """Each net once, when it is first asked for."""
    made = {}

    def visit(name):
        if name not in made:
            made[name] = Visit(name, place, strangers.make(name, place))
        return made[name]

    return visit


@pytest.fixture(autouse=True)
def quiet(monkeypatch, place):
    """In the strangers' folder; without absl's logs to a stream that the runner has closed."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(logging, "raiseExceptions", False)


def run(*words):
    """Exit code and what was said, as `main` would tell it; anything else is a fault."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        assert isinstance(error, REFUSALS), repr(error)
        return 2, str(error)
    return result.exit_code, result.stdout


# === The commands: their words, and what must be right in what they tell ===


def looking(command, *words, head=True):
    """The words of a command that looks at pictures with --model."""

    def told(visit, out):
        own = visit.head if head else []
        model = ["--model", visit.path.name, *visit.kind.flags, *own]
        chosen = [visit.kind.layer if word is LAYER else word for word in words]
        return [command, *chosen, *model, "--output", out, "--json"]

    return told


LAYER = object()  # stands for the layer to look at
PICTURES = [f"pictures/{name}" for name in ("cat/0.png", "cat/1.png", "dog/2.png")]
MARKS = "pictures/marks.json"
AS_THEY_ARE = ["--fit", "stretch"]  # not the middle of what is 8/7 as large


def check_words(visit, out):
    return ["check", visit.path.name, *visit.kind.flags, "--json"]


def evaluate_words(visit, out):
    data = "two" if visit.scores.shape[1] == 1 else "pictures"
    return [
        "evaluate",
        visit.path.name,
        "--data",
        data,
        *AS_THEY_ARE,
        *visit.kind.flags,
        *visit.head,
        "--json",
    ]


def top_words(visit, out):
    model = ["--model", visit.path.name, *visit.kind.flags]
    return ["top", *model, "--data", "pictures", *AS_THEY_ARE, "--k", 2, "--output", out, "--json"]


def atlas_words(visit, out):
    words = ["atlas", visit.path.name, "--data", "pictures", "--k", 2, "--layers", visit.kind.layer]
    return [*words, *AS_THEY_ARE, *visit.kind.flags, "--output", out, "--json"]


def filters_words(visit, out):
    words = ["filters", visit.path.name, "--data", "pictures", *visit.kind.flags]
    return [*words, "--output", out, "--json"]


def evolution_words(visit, out):
    epochs = out / "run"
    epochs.mkdir(exist_ok=True)
    (epochs / f"epoch-0001{visit.kind.ending}").write_bytes(visit.path.read_bytes())
    words = ["evolution", epochs, "--data", "pictures", "--layers", visit.kind.layer]
    return [*words, *AS_THEY_ARE, *visit.kind.flags, "--output", out / "strips", "--json"]


def export_words(visit, out):
    words = ["export", visit.path.name, out / "served", "--layer", visit.kind.layer]
    return [
        *words,
        "--occlusion-strides",
        12,
        *AS_THEY_ARE,
        *visit.kind.flags,
        *visit.head,
        "--json",
    ]


def watched(path):
    """The watched scores, at a place in what is told, are those of the predicted classes."""

    def check(visit, found, out):
        scores = path(found)
        visit.close(scores, visit.scores.max(1)[: len(scores)])

    return check


def check_check(visit, found, out):
    assert found["ok"] == (not found["unreachable"])
    assert found["projectable"]


def project_check(visit, found, out):
    for one, maps in zip(found, visit.maps, strict=False):
        assert one["layer"] == visit.kind.layer
        units = {unit["channel"]: unit["value"] for unit in one["maps"]}
        visit.close(list(units.values()), maps.max((0, 1))[list(units)])
        visit.close(sorted(units.values()), np.sort(maps.max((0, 1)))[-len(units) :])


def evaluate_check(visit, found, out):
    scores = visit.scores
    labels = np.arange(len(scores)) // 2
    if scores.shape[1] == 1:
        scores, labels = np.concatenate([1 - scores, scores], 1)[:4], labels[:4]
    assert found["top1"] == np.mean(scores.argmax(1) == labels)
    assert found["pictures"] == len(labels)
    if np.allclose(scores.sum(1), 1, atol=1e-3):
        visit.close(found["loss"], -np.log(scores[range(len(labels)), labels]).mean())


def top_check(visit, found, out):
    best = zf.load_results(out / "top.npz")[visit.kind.layer]
    maps = visit.maps
    visit.close(best.values, -np.sort(-maps.max((1, 2)), axis=0)[:2].T)
    assert best.complete if hasattr(best, "complete") else found["complete"]


def atlas_check(visit, found, out):
    assert Path(found["page"]).is_file()
    assert found["skipped"] == []
    top_check(visit, {"complete": True}, out)


def filters_check(visit, found, out):
    first = next(x for x in flat(visit.model) if isinstance(x, keras.layers.Conv2D))
    kernel = np.asarray(first.kernel, np.float32)
    expected = np.sqrt((kernel**2).mean((0, 1, 2)).max())
    visit.close(found["largest RMS"][visit.path.stem], expected)


def evolution_check(visit, found, out):
    assert list(found["strips"]) == [visit.kind.layer]
    kept = zf.load_evolution(out / "strips")[visit.kind.layer][0]
    best = visit.maps.max((0, 1, 2))
    visit.close(kept.values, best[kept.channels])


def export_check(visit, found, out):
    """Asked over HTTP, the export answers what the net says, and so do its explanations."""
    scores = visit.scores[0]
    maps = visit.maps[0]
    with serving([ModelConfig("net", out / "served")]) as url:
        ask = ["query", PICTURES[0], "--url", url, "--model", "net", "--json"]
        answers = {}
        for signature in ("classify", "deconv", "occlusion"):
            more = ["--layer", visit.kind.layer] if signature == "deconv" else []
            code, told = run(*ask, "--signature", signature, *more)
            assert code == 0, told
            answers[signature] = json.loads(told)
    classes = answers["classify"]
    (told,) = (classes[name] for name in ("probabilities", "scores") if name in classes)
    visit.close(told, scores[classes["class_ids"]])
    visit.close(answers["deconv"]["value"], maps.max())
    visit.close(answers["occlusion"]["activation"], maps.sum((0, 1)).max())


def flat(model):
    """All layers of a model, those of nested models too."""
    for layer in model.layers:
        yield from flat(layer) if isinstance(layer, keras.Model) else [layer]


COMMANDS = {
    "check": (check_words, check_check),
    "project": (looking("project", *PICTURES, head=False), project_check),
    "occlude": (looking("occlude", *PICTURES, "--patch-size", 9, "--strides", 6),
                watched(lambda found: [one["whole"] for one in found])),
    "invariance": (looking("invariance", *PICTURES, "--layers", LAYER, "--kinds", "scale"),
                   watched(lambda found: found["layers"]["p"])),
    "correspond": (looking("correspond", MARKS, "--layers", LAYER, "--draws", 1),
                   watched(lambda found: [one["p"] for one in found["fig8"]["images"]])),
    "compare": (looking("compare", *PICTURES[:2], "--steps", 3), watched(lambda x: x["p"])),
    "faithfulness": (looking("faithfulness", *PICTURES[:2], "--steps", 3, "--methods",
                             "guided,gradient_x_input,gradcam"), watched(lambda x: x["p"])),
    "reproduce fig5": (looking("reproduce", "fig5", "--images", "pictures", "--layers", LAYER),
                       watched(lambda found: found["layers"]["p"])),
    "reproduce fig7": (looking("reproduce", "fig7", "--images", "pictures", "--layers", LAYER),
                       watched(lambda found: [one["p"] for one in found["images"]])),
    "reproduce fig8": (looking("reproduce", "fig8", "--landmarks", MARKS, "--layers", LAYER),
                       watched(lambda found: [one["p"] for one in found["images"]])),
    "reproduce table1": (looking("reproduce", "table1", "--landmarks", MARKS, "--layers", LAYER),
                         lambda visit, found, out: sane_numbers(found["hiding"])),
    "evaluate": (evaluate_words, evaluate_check),
    "top": (top_words, top_check),
    "atlas": (atlas_words, atlas_check),
    "filters": (filters_words, filters_check),
    "evolution": (evolution_words, evolution_check),
    "export": (export_words, export_check),
}  # fmt: skip
NOT_OF_NETS = {
    "train": "trains our own architectures; strangers' folders are in test_folders",
    "merge": "takes results of top",
    "demo": "takes nothing of the user's",
    "serve": "takes exports: of `export`",
    "query": "takes exports: of `export`",
}


def sane_numbers(found):
    assert np.isfinite([value for part in found.values() for value in part.values()]).all()


# What can't be done with a net, and how that is said.
NO_PICTURES = r"takes no pictures|grey or colour"
NO_RULE = "no reverse rule"
NO_HEAD = "Cannot tell what this model's outputs mean"
NO_GRAPH = "own `call`"
ON_PICTURES = [name for name in COMMANDS if name not in ("check", "filters")]
REFUSED = {
    "four channels": dict.fromkeys([*ON_PICTURES, "filters"], NO_PICTURES),
    "LeakyReLU": dict.fromkeys(("project", "atlas", "evolution", "export"), NO_RULE),
    "GELU": dict.fromkeys(("project", "atlas", "evolution", "export"), NO_RULE),
    "regression": {"evaluate": "one output for each of the 2 classes"},
    "subclassed": dict.fromkeys(ON_PICTURES, f"{NO_HEAD}|{NO_GRAPH}|does not say what it takes")
    | {"filters": NO_GRAPH},
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, name, visits, tmp_path):
    visit = visits(name)
    words, check = COMMANDS[command]
    code, told = run(*words(visit, tmp_path))
    if command == "check" and name in ("LeakyReLU", "GELU", "int8", "own layer", "subclassed"):
        assert code == 1
        assert json.loads(told)["findings"][0]["level"] == "problem"
        return
    refusal = REFUSED.get(name, {}).get(command)
    if refusal is None:
        assert code == 0, told
        check(visit, json.loads(told), tmp_path)
    else:
        assert code == 2, told
        assert re.search(refusal, told), told
        assert re.search(PARTS, told), told


def test_no_command_is_left_out():
    tried = {name.partition(" ")[0] for name in COMMANDS}
    assert tried | set(NOT_OF_NETS) == set(typer.main.get_command(app).commands)


# === The public functions ===


def refuses(message, function, *arguments, **options):
    with pytest.raises(REFUSALS, match=message) as caught:
        function(*arguments, **options)
    assert re.search(PARTS, str(caught.value)), caught.value


def can_be_walked(visit, function, *arguments, **options):
    """Whether a model has a graph; a function that needs it must say so where it has none."""
    if visit.name != "subclassed":
        return True
    refuses(f"{NO_GRAPH}|{NO_HEAD}|does not say what it takes", function, *arguments, **options)
    return False


def deconvnet(visit, out):
    if not can_be_walked(visit, zf.DeconvNet, visit.model):
        return
    if visit.name in ("GELU", "LeakyReLU"):
        refuses(NO_RULE, zf.DeconvNet(visit.model).project, visit.images, visit.kind.layer)
    gradient = zf.DeconvNet(visit.model, rule="gradient")
    image, row, column, channel = visit.strongest
    found = gradient.project(visit.images[image : image + 1], visit.kind.layer, [channel])
    visit.close(found.values[0, 0], visit.maps.max())
    assert found.positions[0, 0].tolist() == [row, column]
    visit.close(found.pixels[0, 0] / abs(visit.gradient).max(),
                visit.gradient / abs(visit.gradient).max())  # fmt: skip


def units(visit, out):
    if not can_be_walked(visit, zf.DeconvNet, visit.model):
        return
    gradient = zf.DeconvNet(visit.model, rule="gradient")
    chosen = [list(visit.strongest)]
    expected = visit.gradient / abs(visit.gradient).max()
    found = gradient.project_units(visit.images, visit.kind.layer, chosen)
    visit.close(found.paste()[0] / abs(visit.gradient).max(), expected)
    for rows, part in gradient.iterate_units(visit.images, visit.kind.layer, chosen):
        np.testing.assert_array_equal(part.paste(), found.paste()[rows])


def receptive_field(visit, out):
    if not can_be_walked(visit, zf.receptive_field, visit.model, visit.kind.layer):
        return
    _, row, column, _ = (int(number) for number in visit.strongest)
    box = zf.receptive_field(visit.model, visit.kind.layer).box((row, column), SIZE)
    outside = np.ones(SIZE, bool)
    outside[box[0] : box[2], box[1] : box[3]] = False
    assert not visit.gradient[outside].any()


def predictor(visit, out):
    found = zf.Predictor(visit.model, **visit.asked)(visit.images)
    visit.close(found.scores, visit.scores)
    if visit.name != "subclassed":
        found = zf.Predictor(visit.model, [visit.kind.layer], **visit.asked)(visit.images)
        visit.close(found.layers[0], visit.maps)


def hidden(images, row, column, side, fill):
    """Images with a square around a place, pixel by pixel."""
    hidden = images.copy()
    for y in range(row - side // 2, row - side // 2 + side):
        for x in range(column - side // 2, column - side // 2 + side):
            if 0 <= y < images.shape[1] and 0 <= x < images.shape[2]:
                hidden[:, y, x] = fill
    return hidden


def occlusion(visit, out):
    best = visit.scores.argmax(1)
    for method in ("plain", "incremental")[: 1 if visit.name == "subclassed" else 2]:
        options = {"patch_size": 7, "strides": 7, "fill_value": 40, "method": method}
        found = zf.occlusion(visit.model, visit.images, **options, **visit.asked)
        again = zf.Occluder(visit.model, **options, **visit.asked)(visit.images)
        np.testing.assert_array_equal(found.response, again.response)
        visit.close(found.baseline_response, visit.scores.max(1))
        for row, y in enumerate(found.rows):
            for column, x in enumerate(found.columns):
                scores = visit.kind.scores(visit.model, hidden(visit.images, y, x, 7, 40))
                visit.close(found.response[:, row, column], scores[range(len(best)), best])


def invariance(visit, out):
    layers = [visit.kind.layer]
    options = {"transforms": {"vertical": [0, 3]}, "fill_value": 9, **visit.asked}
    if not can_be_walked(visit, zf.invariance, visit.model, visit.images, layers, **options):
        return
    found = zf.invariance(visit.model, visit.images, layers, **options)
    moved = np.full_like(visit.images, 9)
    moved[:, 3:] = visit.images[:, :-3]
    best, each = visit.scores.argmax(1), range(len(visit.images))
    visit.close(found.probabilities[:, 0], visit.scores.max(1))
    visit.close(found.probabilities[:, 1], visit.kind.scores(visit.model, moved)[each, best])


def correspondence(visit, out):
    layers, centres = [visit.kind.layer], [[9, 7 + n] for n in range(6)]
    options = {"patch_size": 5, "draws": 1, "fill_value": 9, **visit.asked}
    arguments = (visit.model, visit.images, {"nose": centres}, layers)
    if not can_be_walked(visit, zf.correspondence, *arguments, **options):
        return
    found = zf.correspondence(*arguments, **options)
    covered = [
        hidden(picture[None], *centre, 5, 9)[0]
        for picture, centre in zip(visit.images, centres, strict=True)
    ]
    scores = visit.kind.scores(visit.model, np.stack(covered))
    visit.close(found.probabilities[0], scores[range(6), visit.scores.argmax(1)])


def faithfulness(visit, out):
    options = {"steps": 3, "fill_value": 9, "randomize": False, **visit.asked}
    arguments = (visit.model, visit.images[:2], ["occlusion", "random"])
    if not can_be_walked(visit, zf.faithfulness, *arguments, **options):
        return
    found = zf.faithfulness(*arguments, **options)
    best = visit.scores[:2].argmax(1)
    empty = visit.kind.scores(visit.model, np.full_like(visit.images[:2], 9))[range(2), best]
    for curve in found.deletion:
        visit.close(curve[:, 0], visit.scores[:2].max(1))
        visit.close(curve[:, -1], empty)


def explanations(visit, out):
    settings = zf.Settings(**visit.asked)
    arguments = (visit.model, visit.images[:2], ["occlusion", "random"])
    if not can_be_walked(visit, zf.explanations, *arguments, settings=settings):
        return
    found = zf.explanations(*arguments, settings=settings)
    assert found.classes.tolist() == visit.scores[:2].argmax(1).tolist()
    assert found.maps.shape == (2, 2, *SIZE)
    assert np.isfinite(found.maps).all()


def filter_statistics(visit, out):
    if not can_be_walked(visit, zf.filter_statistics, visit.model):
        return
    found = zf.filter_statistics(visit.model)
    first = next(x for x in flat(visit.model) if isinstance(x, keras.layers.Conv2D))
    kernel = np.asarray(first.kernel, np.float32)
    visit.close(found.rms, np.sqrt((kernel**2).mean((0, 1, 2))))


def top_activations(visit, out):
    if not can_be_walked(visit, zf.top_activations, visit.model, visit.images):
        return
    found = zf.top_activations(visit.model, visit.images, [visit.kind.layer], k=2)
    visit.close(found[visit.kind.layer].values, -np.sort(-visit.maps.max((1, 2)), axis=0)[:2].T)


def feature_evolution(visit, out):
    callback = zf.FeatureEvolution(visit.images, [visit.kind.layer], 2, (1,), out)
    model = visit.model
    callback.set_model(model)
    if not can_be_walked(visit, callback.on_train_begin):
        return
    callback.on_train_begin()
    if visit.name in ("GELU", "LeakyReLU"):
        return refuses(NO_RULE, callback.on_epoch_end, 0)
    callback.on_epoch_end(0)
    (kept,) = zf.load_evolution(out)[visit.kind.layer]
    visit.close(kept.values, visit.maps.max((0, 1, 2))[kept.channels])


def check_model(visit, out):
    found = zf.check_model(visit.model)
    assert found.ok == (not found.unreachable and bool(found.projectable))
    assert visit.kind.layer in found.projectable or not found.ok


FUNCTIONS = {
    "check_model": check_model,
    "DeconvNet": deconvnet,
    "project_units": units,
    "iterate_units": units,
    "receptive_field": receptive_field,
    "Predictor": predictor,
    "occlusion": occlusion,
    "Occluder": occlusion,
    "invariance": invariance,
    "correspondence": correspondence,
    "faithfulness": faithfulness,
    "explanations": explanations,
    "filter_statistics": filter_statistics,
    "top_activations": top_activations,
    "FeatureEvolution": feature_evolution,
}
BY_COMMANDS = {"evaluate": "evaluate", "export": "export", "write_atlas": "atlas",
               "load_model": "check", "load_evolution": "evolution", "load_results": "top",
               "load_landmarks": "correspond"}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("function", dict.fromkeys(FUNCTIONS.values()), ids=lambda f: f.__name__)
def test_functions(function, name, visits, tmp_path):
    function(visits(name), tmp_path)


def test_no_function_is_left_out():
    tried = {*FUNCTIONS, *BY_COMMANDS}
    others = {
        name for name in zf.__all__ if isinstance(getattr(zf, name), type) or name == "__version__"
    }
    of_data = {
        "image",
        "from_tfds",
        "generated",
        "image_folder",
        "recipe",
        "AlexNet",
        "VGG",
        "ZFNet",
        "AsyncClient",
        "variant",
        "variants",
        "Client",
    }
    assert tried | others | of_data | {"train"} == set(zf.__all__)
    assert set(BY_COMMANDS.values()) <= set(COMMANDS)


# === Folders ===


@pytest.fixture(scope="module")
def seer(visits):
    """A net for strangers' folders and pictures."""
    return visits("softmax, Sequential")


MANY = {  # commands that go through a folder of classes: words, and how many pictures they saw
    "evaluate": (lambda model, folder, out: ["evaluate", model, "--data", folder],
                 lambda found, out: found["pictures"]),
    "top": (lambda model, folder, out: ["top", "--model", model, "--data", folder,
                                        "--output", out], lambda found, out: found["images"]),
    "atlas": (lambda model, folder, out: ["atlas", model, "--data", folder, "--output", out,
                                          "--layers", "last", "--maps", 1],
              lambda found, out: zf.load_results(out / "top.npz")["last"].statistics.images),
    "train": (lambda model, folder, out: [
        "train", "--data", folder, "--output", out, "--image-size", 48, "--width", 0.05,
        "--epochs", 1, "--batch-size", 3, "--recipe", "imagenette"],
        lambda found, out: len((out / "labels.txt").read_text().split()) * 2),
    "filters": (lambda model, folder, out: ["filters", model, "--data", folder, "--output", out],
                None),
}  # fmt: skip


@pytest.mark.parametrize("name", strangers.FOLDERS)
@pytest.mark.parametrize("command", MANY)
def test_folders(command, name, seer, tmp_path):
    make, usable, broken = strangers.FOLDERS[name]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    words, seen = MANY[command]
    result = CliRunner().invoke(
        app, [str(w) for w in words(seer.path, tmp_path / "data", tmp_path / "out")] + ["--json"]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    if seen is not None:
        expected = 6 if command == "train" else usable
        assert seen(json.loads(result.stdout), tmp_path / "out") == expected
    for file in strangers.WRONG if broken > 1 else ():
        assert file in result.stderr
    assert ("Left out" in result.stderr) == bool(broken)


@pytest.mark.parametrize("name", strangers.NO_FOLDERS)
@pytest.mark.parametrize("command", MANY)
def test_folders_without_a_usable_picture(command, name, seer, tmp_path):
    strangers.NO_FOLDERS[name](tmp_path / "data")
    words, _ = MANY[command]
    code, told = run(*words(seer.path, tmp_path / "data", tmp_path / "out"), "--json")
    assert code == 2, told
    assert re.search(PARTS, told), told


# === Pictures ===

FEW = {  # commands that look at single pictures: words, and the watched scores they tell
    "project": (["--layer", "last"], None),
    "occlude": (["--patch-size", 12, "--strides", 12], lambda found: [x["whole"] for x in found]),
    "invariance": (["--layers", "last", "--kinds", "scale"], lambda found: found["layers"]["p"]),
    "compare": (["--methods", "guided", "--steps", 2], lambda found: found["p"]),
    "faithfulness": (["--methods", "guided", "--steps", 2], lambda found: found["p"]),
    "reproduce fig7": (["--layers", "last"], lambda found: [x["p"] for x in found["images"]]),
}


def words_on(command, pictures, model, out):
    own, _ = FEW[command]
    name, *more = command.split()
    paths = ["--images", pictures] if more else [pictures]
    return [name, *more, *paths, "--model", model, *own, "--output", out, "--json"]


@pytest.mark.parametrize("command", FEW)
def test_pictures(command, seer, tmp_path):
    """Of every kind together: the net sees what Pillow shows, in the middle."""
    folder = tmp_path / "data"
    folder.mkdir()
    names = sorted(strangers.FILES)[::4]
    for name in names:
        (folder / name).write_bytes(strangers.FILES[name])
    code, told = run(*words_on(command, folder, seer.path, tmp_path / "out"))
    assert code == 0, told
    shown = [image.fit(image.load(folder / name), SIZE) for name in names]
    scores = seer.kind.scores(seer.model, np.stack(shown).astype(np.float32))
    _, watched_scores = FEW[command]
    if watched_scores is None:
        assert [Path(x["image"]).name for x in json.loads(told)] == names
    else:
        np.testing.assert_allclose(watched_scores(json.loads(told)), scores.max(1), atol=1e-3)


@pytest.mark.parametrize("name", strangers.WRONG)
@pytest.mark.parametrize("command", FEW)
def test_what_is_no_picture(command, name, seer, tmp_path):
    (tmp_path / name).write_bytes(strangers.WRONG[name])
    code, told = run(*words_on(command, tmp_path / name, seer.path, tmp_path / "out"))
    assert code == 2, told
    assert re.search(PARTS, told), told
    assert name in told


def test_served_pictures(seer, tmp_path):
    """The same pictures, asked of a server by the client."""
    zf.export(seer.model, tmp_path / "served", layers=["last"], occlusion_strides=12)
    with serving([ModelConfig("net", tmp_path / "served")]) as url:
        ask = ["--url", url, "--model", "net", "--json"]
        for name in sorted(strangers.FILES)[::3]:
            (tmp_path / name).write_bytes(strangers.FILES[name])
            code, told = run("query", tmp_path / name, *ask)
            assert code == 0, (name, told)
            shown = image.fit(image.load(tmp_path / name), SIZE, scale=8 / 7)
            scores = seer.kind.scores(seer.model, shown[None].astype(np.float32))[0]
            found = json.loads(told)
            expected = scores[found["class_ids"]]
            np.testing.assert_allclose(found["probabilities"], expected, atol=0.01, err_msg=name)
        for name, contents in strangers.WRONG.items():
            (tmp_path / name).write_bytes(contents)
            code, told = run("query", tmp_path / name, *ask)
            assert code == 2, (name, told)


def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (1, 1000)])
@pytest.mark.parametrize("command", ["project", "top"])
def test_long_pictures_take_no_memory(command, shape, seer, tmp_path):
    file = tmp_path / "data" / "cat" / "long.png"
    file.parent.mkdir(parents=True)
    strangers.Image.new("RGB", shape, "red").save(file)
    out = tmp_path / "out"
    words = words_on("project", file, seer.path, out)
    if command == "top":
        words = ["top", "--model", seer.path, "--data", tmp_path / "data", "--output", out]
    run(*words)  # what the first call needs is not the picture's
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    code, told = run(*words[:-1], out / "again") if command == "top" else run(*words)
    assert code == 0, told
    assert peak() - before < 150  # MB

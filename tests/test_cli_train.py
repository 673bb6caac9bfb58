"""`zfkeras train` and `zfkeras evaluate`, as a user types them."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from zfkeras import cli
from zfkeras.cli.train import _value
from zfkeras.models.weights import metadata
from zfkeras.models.zfnet import ZFNet

TINY = ["--width", "0.03", "--image-size", "48", "--epochs", "1", "--batch-size", "4",
        "--recipe", "imagenette"]  # fmt: skip


@pytest.fixture
def run():
    def run(*arguments, code=0):
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data" / "cat" / "bad.jpg").write_text("no picture")
    return tmp_path / "data"


def test_train_then_evaluate(run, folder, tmp_path):
    output = tmp_path / "run"
    result = run("train", "--data", folder, "--output", output, "--hold-out", 3, *TINY, "--json")
    printed = json.loads(result.stdout)
    assert printed["output"] == str(output)
    assert printed["history"] == json.loads((output / "history.json").read_text())
    assert "val_accuracy" in printed["history"][0]
    assert f"Left out of {folder}: 1" in result.stderr
    assert "cat/bad.jpg: it has no known format" in result.stderr
    assert (output / "labels.txt").read_text() == "cat\ndog\n"
    assert metadata(output / "weights.npz")["class_names"] == ["cat", "dog"]
    assert ZFNet(weights=str(output / "weights.npz")).output_shape == (None, 2)

    # Again: the run is done, nothing is trained.
    again = run("train", "--data", folder, "--output", output, "--hold-out", 3, *TINY, "--json")
    assert json.loads(again.stdout) == printed

    (folder / "dog").rename(tmp_path / "dog_away")  # its labels come from labels.txt
    for arguments, crops in ([], 1), (["--ten-crop"], 10):
        result = run("evaluate", output / "model.keras", "--data", folder, "--json", *arguments)
        numbers = json.loads(result.stdout)
        assert (numbers["pictures"], numbers["crops"], numbers["skipped"]) == (6, crops, 1)
        assert 0 <= numbers["top1"] <= numbers["top5"] == 1.0
    assert "top1" in run("evaluate", output / "model.keras", "--data", folder).stdout


def test_train_on_the_generated_set(run, tmp_path, monkeypatch):
    from zfkeras.data import generated

    whole = generated.generated
    monkeypatch.setattr(generated, "generated", lambda *a, **k: whole(*a, **k, count=16))
    result = run("train", "--data", "generated:train", "--validation-data", "generated:validation",
                 "--model", "alexnet", "--output", tmp_path / "run",
                 "--width", "0.05", "--image-size", "80", "--epochs", "1", "--batch-size", "8",
                 "--set", "schedule=cosine", "--set", "scale=[1.0, 1.2]", "--snapshot", 1,
                 "--set", "kernel_initializer=null")  # fmt: skip
    assert "2/2" in result.stdout  # Keras' own progress
    assert "history are in" in result.stdout
    assert (tmp_path / "run" / "snapshots" / "epoch-0001.keras").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--data", "/no/such"], "no such folder of pictures.*'/no/such'"),
     (["--data", "tfds:imagenette"], "must be tfds:NAME/SPLIT"),
     (["--data", "tfds:no_such_set/train"], "TFDS can't give.*no_such_set"),
     (["--data", "generated:test"], "train, validation. Received: split='test'"),
     (["--recipe", "fast"], "Allowed: zeiler-fergus.*name='fast'"),
     (["--set", "lr=1"], "no attribute 'lr'"),
     (["--set", "epochs"], "KEY=VALUE. Received: --set 'epochs'"),
     (["--batch-size", "5000"], "batch_size=5000"),
     (["--image-size", "16"], "too small.*Received: input_shape=\\(16, 16, 3\\)")],
)  # fmt: skip
def test_bad_input_is_named(run, tmp_path, arguments, message):
    given = dict(zip(TINY[::2], TINY[1::2], strict=True)) | {"--data": "generated"}
    given |= {"--output": str(tmp_path), **dict(zip(arguments[::2], arguments[1::2], strict=True))}
    with pytest.raises(ValueError, match=message):
        run("train", *(word for pair in given.items() for word in pair))


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "sys.argv", ["zfkeras", "train", "--data", "/no", "--output", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.slow
def test_the_papers_initial_weights_in_a_narrow_net_are_warned_of(run, folder, tmp_path):
    given = ["train", "--data", folder, "--output", tmp_path / "run", *TINY]
    assert "Warning" not in run(*given, "--json").stderr
    paper = ["--set", "kernel_initializer=paper"]
    result = run(*given[:3], "--output", tmp_path / "other", *TINY, *paper, "--json")
    assert "fade in a net of width 0.03" in result.stderr


def test_values():
    assert [_value(v) for v in ("0.5", "[1, 2]", "null", "true", "cosine")] == [
        0.5, (1, 2), None, True, "cosine"
    ]  # fmt: skip

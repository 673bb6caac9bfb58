"""`zfkeras export`, `serve` and `query`, as a user runs them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from zfkeras import image
from zfkeras.cli import app

run = CliRunner().invoke


@pytest.fixture
def photo(tmp_path, rng):
    coarse = rng.integers(0, 255, (10, 12, 3))
    return image.save(tmp_path / "photo.png", np.kron(coarse, np.ones((9, 9, 1))).astype(np.uint8))


@pytest.fixture(scope="module")
def process(exported, tmp_path_factory):
    """`zfkeras serve` in a process of its own: (its URL, its models, the process)."""
    base = tmp_path_factory.mktemp("served") / "zfnet"
    shutil.copytree(exported, base)
    command = [sys.executable, "-m", "zfkeras.cli", "serve", "--model_base_path", str(base)]
    command += ["--model_name", "zfnet", "--rest_api_port", "0"]
    command += ["--file_system_poll_wait_seconds", "0.1"]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        url = re.search(r"http://[\d.]+:\d+", process.stdout.readline())[0]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url, base, process
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, "Ctrl-C is a clean end"


def ask(url, signature, instance, status=200):
    body = {"signature_name": signature, "instances": [instance]}
    response = httpx.post(f"{url}/v1/models/zfnet:predict", json=body, timeout=120)
    assert response.status_code == status, response.text
    return response.json()


def test_a_served_process_lives_through_bad_requests(process, photo):
    url, _, server = process
    assert "is not compatible" in ask(url, "classify_pixels", 1, 400)["error"]
    assert "is not compatible" in ask(url, "classify_pixels", [[1.0]], 400)["error"]
    assert "Not a JPEG or PNG" in ask(url, "classify", {"b64": "eA=="}, 400)["error"]
    assert server.poll() is None
    answer = run(app, ["query", str(photo), "--url", url])
    assert answer.exit_code == 0, answer.output
    assert re.match(r" *\d+\.\d\d%  (ant|bee|cat|dog|eel|fox|gnu)\n", answer.output)


@pytest.mark.slow
def test_a_new_version_is_picked_up(process, photo):
    url, base, _ = process
    (base / "2").mkdir()  # half-written
    shutil.copytree(base / "1", base / ".staging-3")
    (base / ".staging-3").rename(base / "3")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = httpx.get(f"{url}/v1/models/zfnet").json()["model_version_status"]
        states = {version["version"]: version["state"] for version in status}
        if states.get("3") == "AVAILABLE" and states["1"] == "END":
            break
        time.sleep(0.1)
    assert states == {"3": "AVAILABLE", "1": "END"} | ({"2": "END"} if "2" in states else {})
    answer = run(app, ["query", str(photo), "--url", url, "--version", "3"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["classify"], {"classes", "class_ids", "probabilities"}),
        (
            ["deconv", "--layer", "conv3", "--channel", "1"],
            {"layer", "channel", "value", "position", "box"},
        ),
        (
            ["occlusion", "--patch-size", "20", "--fill-value", "0"],
            {
                "class",
                "class_id",
                "probability",
                "patch_size",
                "channel",
                "activation",
                "activations",
                "rows",
                "columns",
                "probabilities",
                "predicted_classes",
            },
        ),
    ],
)
def test_query_as_json_and_as_text(served, photo, tmp_path, arguments, keys):
    options = ["query", str(photo), "--url", served, "--signature", *arguments]
    assert json.loads(run(app, [*options, "--json"]).output).keys() == keys
    if arguments[0] != "classify":
        output = tmp_path / "out.png"
        text = run(app, [*options, "--output", str(output)])
        assert text.exit_code == 0, text.output
        assert str(output) in text.output
        assert image.load(output).shape == (72 + 4, 2 * 64 + 6, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--signature", "deconv", "--layer", "conv9"], "Expected one of conv1, conv3, conv5"),
        (["--output", "x.png"], "classify has no picture"),
        (["--model", "nope"], "Servable not found"),
    ],
)
def test_bad_queries(served, photo, options, message):
    result = run(app, ["query", str(photo), "--url", served, *options])
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)


def test_a_missing_picture_and_server_are_one_line_and_exit_code_2(tmp_path, photo):
    for arguments, message in [
        (["query", str(tmp_path / "none.png")], "No such file"),
        (["query", str(photo), "--url", "http://127.0.0.1:9"], "It must be running"),
        (["serve", "--model_config_file", "none.config"], "No such file"),
        (["serve"], "either --model_base_path or --model_config_file"),
    ]:
        command = [sys.executable, "-m", "zfkeras.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_export(tiny, tmp_path):
    tiny.save(tmp_path / "net.keras")
    (tmp_path / "labels.txt").write_text("\n".join("abcdefg"))
    options = ["export", str(tmp_path / "net.keras"), str(tmp_path / "models")]
    options += ["--layer", "conv2", "--occlusion-strides", "30", "--top", "2"]
    options += ["--occlusion-layer", "conv4"]
    done = run(app, [*options, "--json"])
    assert json.loads(done.output) == {"version": 1, "path": str(tmp_path / "models" / "1")}
    assets = tmp_path / "models" / "1" / "assets"
    assert (assets / "labels.txt").read_text().split() == list("abcdefg")
    metadata = json.loads((assets / "zfkeras.json").read_text())
    assert metadata["layers"] == ["conv2"]
    assert metadata["occlusion_strides"] == [30, 30]
    assert metadata["occlusion_layer"] == "conv4"
    (tmp_path / "labels.txt").write_text("a\nb")
    result = run(app, options)
    assert "Received: 2 labels" in str(result.exception)
    assert len(list((tmp_path / "models").iterdir())) == 1

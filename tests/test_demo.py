"""The demo, very small: what it leaves behind, and that its server never outlives it."""

import re
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import zfkeras
from zfkeras import cli, image
from zfkeras.client import Client
from zfkeras.demo import Budget, job, run, serving

TINY = {"image_size": 48, "width": 0.05, "examples": 64, "epochs": 2, "places": 8, "maps": 2}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """An untrained net of another shape than the generated images."""
    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("net") / "net.keras"
    zfkeras.ZFNet(classes=5, input_shape=(64, 80, 3), width=0.05, fc_units=8).save(path)
    return str(path)


@pytest.fixture(scope="module")
def left_behind(net, tmp_path_factory):
    """The folder of a demo without serving, and what it said."""
    folder, said = tmp_path_factory.mktemp("demo"), []
    run(folder, Budget(model=net, **TINY), serving=False, say=said.append)
    return folder, "\n".join(said)


def test_the_demo_leaves_pictures_and_a_page(left_behind):
    folder, _ = left_behind
    names = {path.name for path in (folder / "pictures").iterdir()}
    assert {
        f"{photo}-{layer}.png" for photo in ("china", "flower") for layer in ("conv2", "conv5")
    } <= names
    assert sum("occlusion" in name for name in names) >= 3
    for path in (folder / "pictures").iterdir():
        assert image.load(path).std() > 1  # something is drawn
    assert zfkeras.models.loading.load_model(folder / "generated.keras").output_shape == (None, 8)


def test_the_page_tells_the_whole_story(left_behind):
    text = (left_behind[0] / "index.html").read_text()
    for words in (
        "danielbuechele, CC BY 2.0", "generated ", "most probable class",
        "This run was asked not to serve", "Train a small ZFNet", "<svg",
    ):  # fmt: skip
        assert words in text, words
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)


def test_it_says_what_it_does_and_how_long_it_took(left_behind):
    said = left_behind[1]
    for number in (1, 2, 3):
        assert re.search(rf"\n{number}\. .+\n(.*\n)*?   [\d.]+ s", said), said


@pytest.mark.slow
def test_the_demo_serves_and_the_answers_agree(net, tmp_path):
    started = []

    def say(line):
        started.extend(re.findall(r"serving at (http://\S+)", line))

    page = run(tmp_path, Budget(model=net, **TINY), say=say)
    rows = re.findall(r"<code>(\w+)</code></td><td>.*?</td><td>(\S+) (?:in|of)", page.read_text())
    assert [name for name, _ in rows] == ["classify", "deconv", "occlusion"]
    assert all(float(apart) < 1e-5 for _, apart in rows)
    with pytest.raises(ConnectionError), Client(started[0], "zfnet") as client:
        client.status()


def test_ctrl_c_ends_the_server(tmp_path, monkeypatch):
    """Whatever happens inside the `with`, the process is gone after it."""
    processes = []
    monkeypatch.setattr(serving, "_wait", lambda process, *_: processes.append(process))
    with pytest.raises(KeyboardInterrupt), serving.served(tmp_path, "net", tmp_path / "log"):
        raise KeyboardInterrupt
    assert processes[0].poll() is not None


def test_a_server_that_ignores_the_request_is_killed(monkeypatch):
    monkeypatch.setattr(serving, "_STOP_SECONDS", 0.3)
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    process.stdout.readline()
    start = time.monotonic()
    serving._stop(process)
    process.stdout.close()
    assert process.poll() == -9
    assert time.monotonic() - start < 10


def test_a_server_that_dies_at_once_is_reported(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(ConnectionError, match=r"did not start.*server\.log.*exit code=3"):
        serving._wait(process, "http://127.0.0.1:1", "net", tmp_path / "server.log")


def test_a_wrong_model_is_refused_before_any_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(job, "train", lambda *_: pytest.fail("trained"))
    words = ["zfkeras", "demo", "--model", "gone.keras", "--output", str(tmp_path), "--no-serve"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "gone.keras" in capsys.readouterr().err


def test_photographs_are_real_and_credited():
    from zfkeras.demo import projections

    net = projections.Net(
        keras.Sequential([keras.Input((50, 70, 3)), keras.layers.Flatten()]), None
    )
    photos = projections.photographs(net)
    assert photos.keys() == projections.CREDITS.keys()
    for picture in photos.values():
        assert picture.shape == (50, 70, 3)
        assert picture.dtype == np.uint8
        assert len(np.unique(picture)) > 100

"""Every command and snippet of the README runs, and what it links to exists."""

import contextlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from zfkeras import image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def command_lines():
    """The commands on zfkeras, continuation lines joined."""
    usage = next(block for block in blocks("sh") if block.startswith("zfkeras train"))
    return usage.replace("\\\n", " ").splitlines()


def zfkeras(line):
    return [str(Path(sys.executable).parent / "zfkeras"), *shlex.split(line)[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a photograph in it."""
    from sklearn.datasets import load_sample_image

    path = tmp_path_factory.mktemp("readme")
    image.save(path / "photo.jpg", load_sample_image("china.jpg"))
    return path


def test_continuous_integration_runs_the_readmes_test_command():
    (command,) = (line for block in blocks("sh") for line in block.splitlines() if "pytest" in line)
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    for step in command.split(" && ")[2:]:  # after making and entering the environment
        assert any(line.startswith(step) for line in script), step


@pytest.mark.slow
def test_the_snippet_runs(folder):
    (snippet,) = blocks("python")
    subprocess.run([sys.executable, "-c", snippet], cwd=folder, check=True)
    for name in ("conv5.png", "occlusion.png"):
        assert image.load(folder / name).std() > 5
    assert (folder / "saved_models/zfnet/1/saved_model.pb").is_file()


@pytest.mark.slow
def test_the_commands_run(folder):
    with contextlib.ExitStack() as stack:
        at = ""
        for line in command_lines():
            if line.endswith("&"):
                at = f" --url {stack.enter_context(serving(line.removesuffix('&'), folder))}"
            else:
                asked = at if line.startswith("zfkeras query") else ""
                subprocess.run(zfkeras(line + asked), cwd=folder, check=True)
    assert image.load(folder / "projection.png").std() > 5
    assert list((folder / "looked").glob("*.png"))


@contextlib.contextmanager
def serving(line, folder):
    """Runs a `zfkeras serve` on a free port; gives its address once it answers."""
    command = zfkeras(line.replace("8501", "0"))
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.search(r"http://[\w.]+:\d+", server.stdout.readline()).group()
            wait_for(f"{url}/v1/models/zfnet/metadata")
            yield url
        finally:
            server.terminate()


def wait_for(url):
    for _ in range(120):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target

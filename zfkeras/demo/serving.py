"""Fourth step: the net is exported, served by another process, and asked over HTTP."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from zfkeras import image
from zfkeras.analysis.occlusion import occlusion
from zfkeras.analysis.painting import a_fifth
from zfkeras.client import Client, ServerError
from zfkeras.deconvnet.net import DeconvNet
from zfkeras.graph.predictor import Predictor
from zfkeras.image import Picture
from zfkeras.saved_model import export
from zfkeras.types import Json

_START_SECONDS, _STOP_SECONDS = 120, 10


def serve(
    net: keras.Model,
    class_names: Sequence[str] | None,
    photo: Picture,
    layer: str,
    folder: Path,
    say: Callable[[str], None],
) -> Json:
    """Exports a net, serves it, and asks all three signatures about one picture.

    Returns:
        What the page shows of it.
    """
    base = folder / "saved_models" / net.name
    say("   exporting: every signature is traced, written, loaded again and tried")
    say(f"   exported as {export(net, base, class_names)}")
    with served(base, net.name, folder / "server.log") as url, Client(url, net.name) as client:
        say(f"   serving at {url}")
        rows, pictures = ask(client, net, photo, layer)
    return {
        "words": "The net was exported as a TensorFlow SavedModel, served by a process of its "
        "own, and asked over HTTP. It crops a picture as the papers do, so that it sees a little "
        "less of the photograph than above; given the same pixels, it answers as the library "
        "does.",
        "rows": rows,
        "pictures": pictures,
        "commands": [
            f"zfkeras serve --model_base_path {base.resolve()} --model_name {net.name}",
            f"zfkeras query PICTURE --model {net.name} --signature deconv --output projection.png",
        ],
    }


@contextlib.contextmanager
def served(base: Path, name: str, log: Path) -> Iterator[str]:
    """`zfkeras serve` in a process of its own, on a free local port; gone at the end.

    Args:
        base: directory of the versions.
        name: of the model in URLs.
        log: file for what the server prints.

    Yields:
        The server's URL, once it answers.

    Raises:
        ConnectionError: the server did not start.
    """
    port = _free_port()
    command = [sys.executable, "-m", "zfkeras.cli", "serve", "--rest_api_port", str(port)]
    command += ["--model_base_path", str(base.resolve()), "--model_name", name]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, name, log)
            yield url
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, url: str, name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ServerError), Client(url, name) as client:
            if "AVAILABLE" in client.status().values():
                return
        time.sleep(0.2)
    raise ConnectionError(
        f"The server did not start within {_START_SECONDS} s. What it said is in its log. "
        f"Received: log={str(log)!r}, exit code={process.poll()}"
    )


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# === Questions ===


def ask(
    client: Client, net: keras.Model, photo: Picture, layer: str
) -> tuple[list[Json], list[Json]]:
    """Asks each signature about a picture, and holds the server against the library.

    Returns:
        Rows and pictures for the page.
    """
    encoded = image.encode(photo)
    classes, classes_ms = _timed(lambda: client.classify(encoded))
    unit, unit_ms = _timed(lambda: client.deconv(encoded, layer))
    hidden, hidden_ms = _timed(lambda: client.occlusion(encoded))
    best = zip(classes.classes[:3], classes.probabilities, strict=False)
    answers = {
        "classify": (", ".join(f"{name} {share:.2f}" for name, share in best), classes_ms),
        "deconv": (f"{layer}, map {unit.channel}: {unit.value:.4g} at {unit.position}", unit_ms),
        "occlusion": (
            f"{hidden.class_name} {hidden.probability:.2f}, at worst "
            f"{hidden.probabilities.min():.2f} of {hidden.probabilities.size} places",
            hidden_ms,
        ),
    }
    apart = differences(client, net, photo, layer)
    rows = [
        {"signature": name, "answer": answer, "milliseconds": f"{ms:.0f}", "apart": apart[name]}
        for name, (answer, ms) in answers.items()
    ]
    own = DeconvNet(net).project(unit.image[None], layer, [unit.channel])
    pictures = [
        {"picture": unit.image, "caption": "what the served net saw"},
        {"picture": unit.projection, "caption": f"its answer to deconv, {layer}"},
        {"picture": image.to_display(own.pixels[0, 0]), "caption": "the library's own projection"},
        {"picture": hidden.heat_map, "caption": f"its answer to occlusion, {hidden.class_name}"},
    ]
    return rows, pictures


def differences(client: Client, net: keras.Model, pixels: Picture, layer: str) -> dict[str, str]:
    """How far the server's answers are from the library's, for the very same pixels."""
    patch = a_fifth(pixels.shape[:2])
    same: Json = {"pixels": pixels.tolist()}
    classes = client.predict("classify_pixels", **same)
    unit = client.predict("deconv_pixels", **same, layer=layer, channel=-1)
    hidden = client.predict("occlusion_pixels", **same, patch_size=patch, fill_value=128.0)

    own_classes = Predictor(net)(pixels[None]).scores[0, classes["class_ids"]]
    own_unit = DeconvNet(net).project(pixels[None], layer, [unit["channel"]]).pixels[0, 0]
    rows, columns = hidden["rows"], hidden["columns"]
    strides = rows[1] - rows[0], columns[1] - columns[0]
    own_hidden = occlusion(net, pixels[None], patch, strides, classes=hidden["class_id"])
    # The library may add a place beyond the border, where occluders are small.
    places = own_hidden.response[0, : len(rows), : len(columns)]
    return {
        "classify": f"{_largest(own_classes, classes['probabilities']):.0e} in a probability",
        "deconv": f"{_largest(own_unit, unit['projection']) / np.abs(own_unit).max():.0e} "
        "of the largest pixel",
        "occlusion": f"{_largest(places, hidden['probabilities']):.0e} in a probability",
    }


def _largest(own: np.ndarray, other: ArrayLike) -> float:
    return float(np.abs(own - np.asarray(other)).max())


def _timed(question: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    answer = question()
    return answer, 1000 * (time.perf_counter() - start)

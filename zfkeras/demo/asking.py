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

from zfkeras import image
from zfkeras.analysis.occlusion import occlusion
from zfkeras.answers import Answers
from zfkeras.client import Client, OcclusionMap, ServerError
from zfkeras.deconvnet import DeconvNet
from zfkeras.image import Picture
from zfkeras.saved_model import export

_START_SECONDS, _STOP_SECONDS = 120, 10


def serve(
    net: keras.Model,
    class_names: Sequence[str] | None,
    photo: Picture,
    layer: str,
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Exports a net, serves it, and asks all three signatures about one picture.

    Returns:
        What the page shows of it.
    """
    base = folder / "saved_models" / net.name
    say(f"   exported as {export(net, base, labels=class_names)}")
    with served(base, net.name, folder / "server.log") as url, Client(url, net.name) as client:
        say(f"   serving at {url}")
        rows, pictures = ask(client, net, photo, layer)
    return {
        "words": "The net was exported as a TensorFlow SavedModel, served by a process of its "
        "own, and asked over HTTP. What it answers is what the library computes.",
        "rows": rows,
        "pictures": pictures,
        "command": f"zfkeras serve --model_base_path {base.resolve()} --model_name {net.name}",
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
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Asks each signature and holds the answers against the library's own.

    The library is given what the server says its net saw, so that only the answers can differ.

    Returns:
        Rows and pictures for the page.
    """
    encoded = image.encode(photo)
    classes, classes_ms = _timed(lambda: client.classify(encoded))
    deconv, deconv_ms = _timed(lambda: client.deconv(encoded, layer))
    hidden, hidden_ms = _timed(lambda: client.occlusion(encoded))
    own_probabilities = Answers(net)(deconv.image[None])[0][0, classes.class_ids]
    own_projection = DeconvNet(net).project(deconv.image[None], layer, [deconv.channel])
    own_value = float(own_projection.values[0, 0])
    rows = [
        _row(
            "classify",
            ", ".join(
                f"{name} {share:.2f}"
                for name, share in zip(classes.classes[:3], classes.probabilities, strict=False)
            ),
            float(np.abs(own_probabilities - classes.probabilities).max()),
            "in a probability",
            classes_ms,
        ),
        _row(
            "deconv",
            f"{layer}, map {deconv.channel}: {deconv.value:.4g} at {deconv.position}",
            abs(own_value - deconv.value) / abs(own_value),
            "of the activation",
            deconv_ms,
        ),
        _row(
            "occlusion",
            f"{hidden.class_name} {hidden.probability:.2f}, lowest {hidden.probabilities.min():.2f}"
            f" of {hidden.probabilities.size} places",
            _occlusion_difference(net, hidden),
            "in a probability",
            hidden_ms,
        ),
    ]
    own = image.to_display(own_projection.pixels[0, 0])
    pictures = [
        {"picture": deconv.image, "caption": "what the served net saw"},
        {"picture": deconv.projection, "caption": f"its answer to deconv, {layer}"},
        {"picture": own, "caption": "the same projection, by the library"},
        {"picture": hidden.heat_map, "caption": f"its answer to occlusion, {hidden.class_name}"},
    ]
    return rows, pictures


def _occlusion_difference(net: keras.Model, served: OcclusionMap) -> float:
    strides = int(served.rows[1] - served.rows[0]), int(served.columns[1] - served.columns[0])
    patch = round(min(served.image.shape[:2]) / 5)
    own = occlusion(net, served.image[None], patch, strides, classes=served.class_id)
    places = own.probabilities[0, : len(served.rows), : len(served.columns), 0]
    return float(np.abs(places - served.probabilities).max())


def _row(
    signature: str, answer: str, difference: float, unit: str, milliseconds: float
) -> dict[str, Any]:
    return {
        "signature": signature,
        "answer": answer,
        "difference": f"{difference:.0e} {unit}",
        "milliseconds": f"{milliseconds:.0f}",
    }


def _timed(question: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    answer = question()
    return answer, 1000 * (time.perf_counter() - start)

"""The client against a served model, and against servers that are away or wrong."""

import asyncio
import http.server
import io
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

import zfkeras as zf
from zfkeras import image
from zfkeras.client import RequestRefused, ServerError, ServerTimeout, UnexpectedAnswer

H, W = 72, 64
LABELS = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


@pytest.fixture(scope="module")
def client(served):
    with zf.Client(served) as client:
        yield client


@pytest.fixture
def picture(rng):
    coarse = rng.integers(0, 255, (9, 8, 3))
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def seen(client, source):
    """What the net saw of an image."""
    return client.deconv(source, "conv1").image


def test_classify(client, tiny, picture):
    answer = client.classify(image.encode(np.kron(picture, np.ones((2, 2, 1), np.uint8))))
    assert answer.probabilities.shape == answer.class_ids.shape == (4,)
    assert (np.diff(answer.probabilities) <= 0).all()
    assert answer.classes == tuple(LABELS[i] for i in answer.class_ids)


def test_deconv(client, tiny, picture):
    answer = client.deconv(picture, "conv3", channel=2)
    expected = zf.DeconvNet(tiny).project(answer.image[None], "conv3", channels=[2])
    np.testing.assert_allclose(answer.value, expected.values[0, 0], rtol=0.02)
    assert answer.layer == "conv3"
    assert answer.channel == 2
    assert answer.box == zf.receptive_field(tiny, "conv3").box(answer.position, (H, W))
    assert answer.projection.shape == answer.image.shape == (H, W, 3)
    assert answer.projection.std() > 1
    strongest = client.deconv(picture, "conv3")
    every = range(tiny.get_layer("conv3").output.shape[-1])
    assert strongest.value == max(client.deconv(picture, "conv3", c).value for c in every)


def test_occlusion(client, tiny, picture):
    answer = client.occlusion(picture)
    assert answer.probabilities.shape == answer.predicted.shape == (6, 6)
    assert answer.rows.tolist() == [0, 13, 26, 39, 52, 65]
    assert answer.columns.tolist() == [0, 12, 24, 36, 48, 60]
    assert answer.class_name == LABELS[answer.class_id]
    assert answer.predicted_classes[2, 3] == LABELS[answer.predicted[2, 3]]
    assert answer.heat_map.shape == answer.image.shape == (H, W, 3)
    assert answer.activations.shape == (6, 6)
    assert answer.activation > 0
    assert 0 <= answer.channel < tiny.get_layer("conv5").output.shape[-1]
    best = client.classify(picture)
    np.testing.assert_allclose(answer.probability, best.probabilities[0], rtol=1e-4)
    assert answer.patch_size == 13
    assert client.occlusion(picture, patch_size=20).patch_size == 20
    for other in ({"patch_size": 40}, {"fill_value": 0}):
        assert (client.occlusion(picture, **other).probabilities != answer.probabilities).any()


def test_every_form_of_an_image(client, picture, tmp_path):
    path = tmp_path / "picture.png"
    image.save(path, picture)
    forms = [path, str(path), path.read_bytes(), Image.fromarray(picture), picture]
    pictures = [seen(client, form) for form in forms]
    for other in pictures[1:]:
        np.testing.assert_array_equal(other, pictures[0])


def save(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def test_orientation_transparency_and_other_formats_are_applied(client, picture):
    upright = Image.fromarray(np.repeat(np.repeat(picture, 2, 0), 2, 1))
    expected = seen(client, upright).astype(int)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    transparent = upright.convert("RGBA")
    transparent.putalpha(255)
    sixteen = Image.fromarray(np.asarray(upright.convert("L")).astype(np.uint16) * 256)
    for data, tolerance in [
        (save(turned, format="PNG", exif=exif), 0),
        (save(turned, format="JPEG", quality=98, subsampling=0, exif=exif), 6),
        (save(upright, format="BMP"), 0),
        (save(upright, format="WEBP", lossless=True), 0),
        (save(transparent, format="PNG"), 0),
    ]:
        assert np.abs(seen(client, data) - expected).mean() <= tolerance
    np.testing.assert_array_equal(seen(client, sixteen), seen(client, upright.convert("L")))
    transparent.putalpha(0)
    assert (seen(client, transparent) == 255).all()


@pytest.mark.parametrize("source", [b"", b"junk", b"\xff\xd8\xff junk"])
def test_what_is_no_image_is_refused_before_it_is_sent(client, source):
    with pytest.raises(ValueError, match="Cannot read an image"):
        client.classify(source)


def test_arrays_must_be_pictures(client):
    with pytest.raises(ValueError, match="Received: dtype=float64"):
        client.classify(np.zeros((4, 4, 3)))


def test_a_damaged_jpeg_gets_the_servers_words(client, picture):
    whole = image.encode(picture, "JPEG")
    with pytest.raises(RequestRefused, match=r"(?i)jpeg.*\[400 from http"):
        client.classify(whole[: len(whole) // 2])
    assert client.classify(whole).classes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, p: c.deconv(p, "conv9"), "Expected one of conv1, conv3, conv5. Received"),
        (lambda c, p: c.deconv(p, "conv1", 99), "at most 5. Received: channel=99"),
        (lambda c, p: c.occlusion(p, patch_size=5), "Expected 13 to 72, in pixels"),
        (lambda c, p: c.occlusion(p, fill_value=300), "Expected 0 to 255, a grey"),
        (lambda c, _: c.predict("nope", x=1), 'signature name: "nope" not found'),
    ],
)
def test_the_servers_message_is_passed_on(client, picture, call, message):
    with pytest.raises(RequestRefused, match=message) as caught:
        call(client, picture)
    assert "{{node" not in str(caught.value)
    assert "assertion failed" not in str(caught.value)


def test_status_metadata_and_versions(client, served, picture):
    assert client.status() == {1: "AVAILABLE"}
    assert set(client.metadata()["occlusion"]["inputs"]) == {
        "image_bytes",
        "patch_size",
        "fill_value",
    }
    with zf.Client(served, version=1) as first:
        assert first.classify(picture).classes == client.classify(picture).classes
    with (
        zf.Client(served, version=9) as ninth,
        pytest.raises(RequestRefused, match=r"Specific\(zfnet, 9\)"),
    ):
        ninth.classify(picture)
    with (
        zf.Client(served, model="no/net") as nobody,
        pytest.raises(RequestRefused, match="any versions of model no/net"),
    ):
        nobody.status()


def test_a_server_that_is_away():
    with (
        zf.Client("http://127.0.0.1:9") as client,
        pytest.raises(ServerError, match="`zfkeras serve`.*Received: url='http://127.0.0.1:9'"),
    ):
        client.status()
    with pytest.raises(ValueError, match="Received: url='localhost:8501'"):
        zf.Client("localhost:8501")


def test_a_server_that_fails_or_is_another():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"error": "out of memory"}).encode()
            self.send_response(500 if "broken" in self.path else 404)
            self.end_headers()
            self.wfile.write(body if "broken" in self.path else b"<h1>Not here</h1>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with (
            zf.Client(url, "broken") as client,
            pytest.raises(ServerError, match="out of memory .500"),
        ):
            client.status()
        with (
            zf.Client(url, "other") as client,
            pytest.raises(UnexpectedAnswer, match="no JSON: <h1>Not here</h1> .404 from http"),
        ):
            client.status()
        server.shutdown()


class Scripted:
    """A server that answers with what it is told, in turn, and says what it was asked."""

    def __init__(self):
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                script.asked.append(time.monotonic())
                status, headers, body = script.answers.pop(0)
                if status == "wait":
                    time.sleep(body)
                    status, body = 200, b"{}"
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.answers, self.asked = [], []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def say(self, *answers):
        self.answers[:] = answers
        self.asked.clear()


@pytest.fixture(scope="module")
def scripted():
    script = Scripted()
    yield script
    script.server.shutdown()
    script.server.server_close()


GOOD = (200, {}, b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}')
BUSY = (503, {"Retry-After": "0"}, b'{"error": "The queue is full"}')


def of_both(scripted, method, *arguments, **settings):
    """The result of both clients' method, or the error that both raise."""

    async def asynchronous():
        async with zf.AsyncClient(scripted.url, **settings) as client:
            return await getattr(client, method)(*arguments)

    answers = list(scripted.answers)
    with zf.Client(scripted.url, **settings) as client:
        try:
            one = getattr(client, method)(*arguments)
        except Exception as error:
            one = error
    tried = len(scripted.asked)
    scripted.say(*answers)
    try:
        other = asyncio.run(asynchronous())
    except Exception as error:
        other = error
    assert type(one) is type(other)
    assert str(one) == str(other)
    assert len(scripted.asked) == tried
    if isinstance(one, Exception):
        raise one
    return one


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((200, {}, b"<html>Log in</html>"), UnexpectedAnswer, "no JSON: <html>Log in</html>"),
        ((200, {}, b""), UnexpectedAnswer, "no JSON: nothing"),
        ((200, {}, b'{"models": []}'), UnexpectedAnswer, "KeyError: 'model_version_status'"),
        ((200, {}, b"[1]"), UnexpectedAnswer, "not what a model of zfkeras answers"),
        ((302, {"Location": "https://other/"}, b""), UnexpectedAnswer, "https://other/"),
        ((404, {}, b'{"detail": "?"}'), UnexpectedAnswer, "no error as expected"),
        ((400, {}, b'{"error": "bad"}'), RequestRefused, "bad .400"),
        ((500, {}, b'{"error": "bad"}'), ServerError, "bad .500"),
        ((504, {}, b'{"error": "late"}'), ServerError, "late .504"),
    ],
)
def test_what_is_no_answer_is_named_with_the_url_and_not_asked_again(
    scripted, answer, kind, message
):
    scripted.say(answer)
    with pytest.raises(kind, match=message) as caught:
        of_both(scripted, "status")
    assert scripted.url in str(caught.value)
    assert len(scripted.asked) == 1


def test_answers_of_other_models(scripted):
    for body, message in [
        (b'{"predictions": [[0.1, 0.9]]}', "KeyError: 'classes'"),
        (b'{"predictions": []}', "0 rows for 1 images"),
        (b'{"outputs": 1}', "KeyError: 'predictions'"),
    ]:
        scripted.say((200, {}, body))
        with pytest.raises(UnexpectedAnswer, match=message):
            of_both(scripted, "classify", np.zeros((4, 4, 3), np.uint8))


def test_busy_servers_are_asked_again(scripted):
    scripted.say(BUSY, (429, {}, b'{"error": "too many"}'), GOOD)
    assert of_both(scripted, "status") == {3: "AVAILABLE"}
    first, second, third = scripted.asked
    assert second - first < 0.2, "after as long as it says"
    assert 0.3 < third - second < 1.5, "else after some time"
    scripted.say(BUSY, BUSY, BUSY)
    with pytest.raises(ServerError, match="queue is full .503"):
        of_both(scripted, "status")
    scripted.say(BUSY)
    with pytest.raises(ServerError, match="queue is full .503"):
        of_both(scripted, "status", retries=0)
    with pytest.raises(ValueError, match="Received: retries=-1"):
        zf.Client(scripted.url, retries=-1)


def test_a_server_that_is_late(scripted):
    scripted.say(("wait", {}, 1))
    with pytest.raises(ServerTimeout, match="ReadTimeout.*Received: url='http"):
        of_both(scripted, "status", timeout=0.2)
    assert len(scripted.asked) == 1


def test_many_images_in_requests_of_some(client, picture):
    images = [np.roll(picture, shift, 1) for shift in range(0, 50, 10)]
    found = list(client.classify_all(images, batch_size=2))
    one_by_one = [client.classify(each) for each in images]
    assert [f.classes for f in found] == [o.classes for o in one_by_one]
    np.testing.assert_allclose(
        [f.probabilities for f in found], [o.probabilities for o in one_by_one], rtol=1e-4
    )
    assert list(client.classify_all([])) == []
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        client.classify_all(images, batch_size=0)


def test_the_asynchronous_client(client, served, picture):
    async def ask():
        async with zf.AsyncClient(served) as other:
            return await asyncio.gather(
                other.classify(picture),
                other.deconv(picture, "conv3", 2),
                other.occlusion(picture, patch_size=20),
                other.ask("deconv", picture, layer="conv1", channel=1),
                other.predict("classify", image_bytes=image.encode(picture)),
                other.status(),
                other.metadata(),
            )

    best, unit, hidden, (answer, pictures), plain, status, metadata = asyncio.run(ask())
    assert best.classes == client.classify(picture).classes == tuple(plain["classes"])
    assert unit.value == client.deconv(picture, "conv3", 2).value
    assert hidden.patch_size == 20
    assert (answer["channel"], len(pictures)) == (1, 2)
    assert (status, metadata) == (client.status(), client.metadata())


def test_the_client_needs_no_tensorflow():
    code = "import sys, zfkeras.client; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Requests that are nearly right, by the thousand: JSON is answered, and the server lives."""

import base64
import io
import json
import random

import httpx
import numpy as np
import pytest
from PIL import Image

from zfkeras import image

# 5,000 in the slow tier take minutes; by default a taste.
COUNTS = [150, pytest.param(5000, marks=pytest.mark.slow)]
ALLOWED = {200, 400, 404, 413, 429, 501, 503, 504}
PIXELS = np.zeros((72, 64, 3)).tolist()


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def saved(size, **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 99, 200)).save(buffer, **options)
    return buffer.getvalue()


class Fuzz:
    """Makes bodies from a seed: good requests with one or two things wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        rng = np.random.default_rng(seed)
        picture = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
        self.files = [
            image.encode(picture), image.encode(picture, "JPEG"), saved((1, 3000), format="PNG"),
            saved((3000, 1), format="JPEG"), saved((2500, 2500), format="PNG"),
            saved((5, 5), format="GIF"), saved((5, 5), format="BMP"), b"", b"\xff\xd8\xff",
        ]  # fmt: skip

    def file(self):
        data = bytearray(self.random.choice(self.files))
        if data and self.random.random() < 0.5:
            for _ in range(self.random.randint(1, 8)):
                data[self.random.randrange(len(data))] = self.random.randrange(256)
        if self.random.random() < 0.2:
            data = data[: self.random.randint(0, len(data))]
        return b64(bytes(data))

    def value(self, depth=0):
        """Any JSON value, or what looks like one."""
        choice = self.random.randrange(12 if depth < 4 else 8)
        simple = [None, True, -1, 2**70, 1.5, "text", float("nan"), "\ud800"]
        if choice < 8:
            return simple[choice]
        parts = [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]
        if choice < 10:
            return parts
        keys = ["b64", "image_bytes", "pixels", "layer", "x"]
        return {self.random.choice(keys): part for part in parts}

    def row(self, signature):
        row = {"pixels": PIXELS} if signature.endswith("_pixels") else {"image_bytes": self.file()}
        if signature.startswith("deconv"):
            row |= {"layer": self.random.choice(["conv1", "conv5", "no"]),
                    "channel": self.random.choice([-1, 0, 10**6])}  # fmt: skip
        if signature.startswith("occlusion"):
            row |= {"patch_size": self.random.choice([-1, 20, 72, 0, -5]),
                    "fill_value": self.random.choice([128, 0, 1e39, -1])}  # fmt: skip
        if self.random.random() < 0.4:
            row[self.random.choice([*row, "more"])] = self.value()
        return row

    def document(self):
        signature = self.random.choice(
            ["classify", "deconv", "occlusion", "classify_pixels", "deconv_pixels", "nope"]
        )
        form = self.random.choice(["instances", "instances", "inputs", "examples"])
        rows = [self.row(signature) for _ in range(self.random.randint(1, 2))]
        body = {"signature_name": signature, form: rows if form != "inputs" else rows[0]}
        if self.random.random() < 0.3:
            body[self.random.choice([*body, "context"])] = self.value()
        return body

    def body(self):
        text = json.dumps(self.document()).encode()
        if self.random.random() < 0.2:
            at = self.random.randrange(len(text))
            junk = [b"[" * 300, b"{", b'"', b"\x00", b"\xff", b"1e999", b"-", b"\\u", b",", b""]
            text = text[:at] + self.random.choice(junk) + text[at + self.random.randint(0, 5) :]
        return text


@pytest.mark.parametrize("count", COUNTS)
def test_whatever_is_asked_is_answered_in_json(served, count, rng):
    fuzz = Fuzz(count)
    photo = {"image_bytes": b64(image.encode(rng.integers(0, 255, (80, 80, 3)).astype(np.uint8)))}
    good = {"signature_name": "classify", "instances": [photo]}
    statuses = set()
    with httpx.Client(base_url=served, timeout=60) as client:

        def expected():
            return client.post("/v1/models/zfnet:predict", json=good).json()

        first = expected()
        for number in range(count):
            verb = fuzz.random.choice(["predict", "predict", "predict", "classify", "regress"])
            body = fuzz.body()
            answer = client.post(f"/v1/models/zfnet:{verb}", content=body)
            statuses.add(answer.status_code)
            assert answer.status_code in ALLOWED, (answer.text, body[:300])
            assert answer.headers["content-type"] == "application/json"
            document = answer.json()
            assert ("error" in document) == (answer.status_code != 200), body[:300]
            if number % 50 == 0:
                assert expected() == first
        assert expected() == first
    assert statuses >= {200, 400}

"""What a served model answers under a load of everything: 16 clients, good, slow, malformed.

python benchmarks/serving_load.py MODEL_FOLDER --seconds 120; see docs/experiments.md. The folder is
an export of the bundled net. Each answer is compared with the one that the same request got before
the load; loopback only.
"""

import argparse
import base64
import json
import random
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx
import numpy as np

from serving import serve
from zfkeras import image

PREDICT = "/v1/models/m:predict"
MALFORMED = [
    b"",
    b"{",
    b"[" * 50_000,
    b'{"instances": ["\\ud800"]}',
    b'{"instances": [%s]}' % (b"9" * 5000),
    b'{"instances": %s}' % (b"[" * 500 + b"]" * 500),
    b'{"inputs": [%s1]}' % (b"[]," * 200_000),
    b'{"signature_name": "classify_pixels", "instances": [1]}',
    b'{"signature_name": "classify", "instances": [{"b64": "eA=="}]}',
]
REFUSED = {400, 429, 503, 504}


def questions(rng, size):
    """Bodies by the name of their signature."""
    coarse = rng.integers(0, 255, (size[0] // 8, size[1] // 8, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    encoded = {"image_bytes": {"b64": base64.b64encode(image.encode(picture, "JPEG")).decode()}}
    hidden = {"patch_size": 30, "fill_value": 128}
    rows = {
        "classify": encoded,
        "deconv": {**encoded, "layer": "conv5", "channel": -1},
        "occlusion": {**encoded, **hidden},
        "classify_pixels": {"pixels": picture.tolist()},
    }
    return {
        name: json.dumps({"signature_name": name, "instances": [row]}).encode()
        for name, row in rows.items()
    }


class Load:
    """Clients that ask until the time is over."""

    def __init__(self, url, bodies, seconds):
        self.url, self.bodies, self.end = url, bodies, time.monotonic() + seconds
        self.took, self.statuses, self.wrong = defaultdict(list), defaultdict(Counter), []
        with httpx.Client(base_url=url, timeout=60) as client:
            self.expected = {
                name: client.post(PREDICT, content=body).json() for name, body in bodies.items()
            }

    def ask(self, client, name, body):
        started = time.monotonic()
        answer = client.post(PREDICT, content=body)
        self.took[name].append(time.monotonic() - started)
        self.statuses[name][answer.status_code] += 1
        if name == "malformed":
            if answer.status_code not in REFUSED or "error" not in answer.json():
                self.wrong.append((name, answer.status_code, answer.text[:100]))
        elif answer.status_code == 200:
            if not alike(answer.json(), self.expected[name]):
                self.wrong.append((name, "another answer"))
        elif answer.status_code not in REFUSED - {400}:
            self.wrong.append((name, answer.status_code, answer.text[:100]))

    def client(self, seed):
        choose = random.Random(seed)
        with httpx.Client(base_url=self.url, timeout=90) as client:
            while time.monotonic() < self.end:
                kind = choose.choices(
                    [*self.bodies, "malformed", "gone"], [8, 3, 2, 3, 3, 1]
                )[0]  # fmt: skip
                if kind == "malformed":
                    self.ask(client, kind, choose.choice(MALFORMED))
                elif kind == "gone":
                    self.leave()
                else:
                    self.ask(client, kind, self.bodies[kind])

    def leave(self):
        """Asks for much, and goes."""
        try:
            httpx.post(self.url + PREDICT, content=self.bodies["occlusion"], timeout=0.05)
        except httpx.TransportError:
            self.statuses["gone"][0] += 1

    def drip(self):
        """A body that never ends."""

        def body():
            while time.monotonic() < self.end:
                yield b" "
                time.sleep(0.5)

        while time.monotonic() < self.end:
            try:
                answer = httpx.post(self.url + PREDICT, content=body(), timeout=90)
                self.statuses["slow"][answer.status_code] += 1
            except httpx.TransportError:
                self.statuses["slow"][0] += 1

    def watch(self, process, memory):
        """Status, and the server's memory."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while time.monotonic() < self.end:
                started = time.monotonic()
                client.get("/v1/models/m")
                self.took["status"].append(time.monotonic() - started)
                text = Path(f"/proc/{process.pid}/status").read_text()
                memory.append(int(text.partition("VmRSS:")[2].split()[0]) / 1024)
                time.sleep(0.02)


def alike(one, other):
    """Whether two answers agree; numbers may differ in the last digit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return bool(np.isclose(one, other, rtol=1e-3, atol=1e-5))
    return one == other


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    process, url = serve(arguments.folder)
    load, memory = Load(url, questions(np.random.default_rng(0), (128, 128)), arguments.seconds), []
    threads = [threading.Thread(target=load.client, args=[seed]) for seed in range(14)]
    threads += [threading.Thread(target=load.drip) for _ in range(2)]
    threads.append(threading.Thread(target=load.watch, args=[process, memory]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, took in sorted(load.took.items()):
        p50, p99 = (1000 * np.percentile(took, at) for at in (50, 99))
        print(f"{name}: {len(took)} asked, p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
              f"{dict(load.statuses[name])}")  # fmt: skip
    print("gone:", dict(load.statuses["gone"]), "slow:", dict(load.statuses["slow"]))
    quarter = len(memory) // 4
    early, late = max(memory[quarter : 2 * quarter]), max(memory[-quarter:])
    print(f"memory: {memory[0]:.0f} MB at first, at most {early:.0f} in the second quarter, "
          f"{late:.0f} in the last, {max(memory):.0f} ever")  # fmt: skip
    print(f"wrong: {len(load.wrong)} {load.wrong[:5]}")
    process.terminate()
    started = time.monotonic()
    process.wait()
    print(f"ended {time.monotonic() - started:.1f} s after SIGTERM")


if __name__ == "__main__":
    main()

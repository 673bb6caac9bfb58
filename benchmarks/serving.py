"""What HTTP and JSON add to a served model, against the same signature called in process.

python benchmarks/serving.py MODEL_FOLDER; see docs/experiments.md.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import tensorflow as tf

from zfkeras import image


def serve(folder):
    """`zfkeras serve` in a process of its own, and its URL."""
    command = [sys.executable, "-m", "zfkeras.cli", "serve", "--model_base_path", str(folder)]
    command += ["--model_name", "m", "--rest_api_port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = re.search(r"http://[\d.]+:\d+", process.stdout.readline())[0]
    for _ in range(600):
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    return process, url


def medians(repeats, *functions):
    """Median milliseconds of functions, called in turns of ten.

    Between turns it waits: TensorFlow's threads of this process would take the server's cores.
    """
    took = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, took, strict=True):
            time.sleep(0.1)
            for number in range(11):
                time.sleep(0.003)  # as between requests: TensorFlow's threads have gone to sleep
                started = time.perf_counter()
                function()
                if number:
                    times.append(1000 * (time.perf_counter() - started))
    return [float(np.median(times)) for times in took]


def pictures(pixels):
    return [image.encode(one.astype(np.uint8), "JPEG") for one in pixels]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=6)
    arguments = parser.parse_args()
    version = max(arguments.folder.glob("[0-9]*"), key=lambda path: int(path.name))
    loaded = tf.saved_model.load(str(version)).signatures
    shape = loaded["classify_pixels"].structured_input_signature[1]["pixels"].shape[1:]
    process, url = serve(arguments.folder)
    path = "/v1/models/m:predict"
    rng = np.random.default_rng(0)
    with httpx.Client(base_url=url, timeout=60) as client:

        def post(body):
            response = client.post(path, content=body)
            assert response.status_code == 200, response.text
            return response.json()

        def compare(what, signature, inputs, rows):
            body = json.dumps({"signature_name": signature, "instances": rows}).encode()
            here, there = medians(
                arguments.repeats,
                lambda: loaded[signature](**inputs)["classes"].numpy(),
                lambda: post(body),
            )
            print(f"{signature}, {what} ({len(body) / 1e6:.2f} MB): in process {here:.1f} ms, "
                  f"JSON {there:.1f} ms, ratio {there / here:.2f}")  # fmt: skip

        (status,) = medians(arguments.repeats, lambda: client.get("/v1/models/m"))
        print(f"status: {status:.2f} ms")
        for count in (1, 8):
            coarse = rng.integers(0, 255, (count, shape[0] // 4, shape[1] // 4, shape[2]))
            pixels = np.float32(np.kron(coarse, np.ones((1, 4, 4, 1))))
            noisy = np.float32(pixels + rng.random(pixels.shape))
            for name, array in (("whole numbers", pixels), ("float32, all digits", noisy)):
                tensor, rows = tf.constant(array), array.tolist()
                compare(f"{count} x {name}", "classify_pixels", {"pixels": tensor}, rows)
            files = pictures(pixels)
            rows = [{"image_bytes": {"b64": base64.b64encode(f).decode()}} for f in files]
            compare(f"{count} JPEG", "classify", {"image_bytes": tf.constant(files)}, rows)
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()

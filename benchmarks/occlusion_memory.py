"""How much memory does exact incremental occlusion need, next to the plain way?

    python benchmarks/occlusion_memory.py [--size 64] [--stride 16] [--batches 16 64]

Peak resident memory of VGG16 on one image of 224 x 224, each in a process of its own, and what it
was before the occlusion began.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
METHODS = "plain", "incremental"


def peak():
    """The largest resident memory so far, in GB; on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1e6


def measure(method, size, stride, batch):
    import keras
    import numpy as np

    import zfkeras as zf

    model = keras.applications.VGG16(weights=None, classifier_activation=None)
    image = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    model(image)
    before, start = peak(), time.perf_counter()
    zf.occlusion(model, image, size, stride, method=method, batch_size=batch)
    seconds = time.perf_counter() - start
    print(f"{method:12} batch_size {batch:3}: {before:.2f} GB, then {peak():.2f}; {seconds:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--stride", type=int, default=16)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--method", choices=METHODS, help="measure this one here")
    arguments = parser.parse_args()
    if arguments.method:
        measure(arguments.method, arguments.size, arguments.stride, *arguments.batches)
        return
    for batch in arguments.batches:
        for method in METHODS:
            options = f"--method {method} --batches {batch} --size {arguments.size}"
            options += f" --stride {arguments.stride}"
            subprocess.run([sys.executable, __file__, *options.split()], check=True)


if __name__ == "__main__":
    main()

"""How far exact JPEG decoding moves a real net's answers: SqueezeNet v1.0 on 700 photographs.

    python benchmarks/jpeg_decoding.py --shared ../shared/data

Pictures are cropped as the papers test, 8/7; TensorFlow's usual transform against the exact one.
"""

import argparse
import csv
import sys
import tarfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from zfkeras.data.preprocess import fitted

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    from networks import squeezenet

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    shared = parser.parse_args().shared
    net, images = squeezenet(shared), shared / "images" / "imagenet_sample_700"
    with images.with_suffix(".csv").open() as file:
        truth = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    with tarfile.open(images.with_suffix(".tar")) as tar:
        files = {name: tar.extractfile(name).read() for name in sorted(truth)}
    classes, answers = np.array([truth[name] for name in files]), []
    decoded = [
        [tf.io.decode_jpeg(file, 3, dct_method=transform) for file in files.values()]
        for transform in ("", "INTEGER_ACCURATE")
    ]
    for name, pictures in zip(("usual", "exact"), decoded, strict=True):
        crops = np.stack([fitted(one, (227, 227)) for one in pictures])
        answers.append(np.argsort(-net.predict(crops, verbose=0), axis=1)[:, :5])
        right = answers[-1] == classes[:, None]
        print(f"{name} top-1 {right[:, 0].mean():.1%}, top-5 {right.any(1).mean():.1%}")
    pairs = zip(*([tf.cast(one, tf.int32) for one in each] for each in decoded), strict=True)
    apart = [int(tf.reduce_max(abs(usual - exact))) for usual, exact in pairs]
    print(f"pixels differ by up to {max(apart)} of 255")
    changed = (answers[0][:, 0] != answers[1][:, 0]).sum()
    print(f"another most probable class for {changed} of {len(classes)}")


if __name__ == "__main__":
    main()

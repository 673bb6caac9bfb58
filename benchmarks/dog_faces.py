"""Lays out the developers' dog faces and SqueezeNet v1.0, for the real commands to run on.

    python benchmarks/dog_faces.py --shared ../shared/data --output /tmp/dogs
    zfkeras reproduce table1 --model /tmp/dogs/squeezenet.keras --softmax \
        --landmarks /tmp/dogs/faces/landmarks.json --layers fire4,fire6,pool8,fire9,conv10,scores

Writes squeezenet.keras (raw RGB in, 1000 scores out), labels.txt, and faces/ with nine pictures and
their eyes and noses as landmarks. "Left" and "right" are the viewer's. None of it may be shipped.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    faces = options.output / "faces"
    faces.mkdir(parents=True, exist_ok=True)
    entries = json.loads((options.shared / "dog_faces" / "landmarks.json").read_text())
    for entry in entries:
        source = options.shared / "dog_faces" / entry["file"]
        shutil.copyfile(source, faces / entry["file"])
    landmarks = [landmark(entry) for entry in entries]
    (faces / "landmarks.json").write_text(json.dumps(landmarks, indent=1))
    words = (options.shared / "labels" / "imagenet_synset_words.txt").read_text().splitlines()
    names = [line.split(" ", 1)[1].split(",")[0] for line in words]
    (options.output / "labels.txt").write_text("\n".join(names) + "\n")

    from networks import squeezenet

    squeezenet(options.shared).save(options.output / "squeezenet.keras")


def landmark(entry: dict) -> dict:
    """An entry in zfkeras' form: parts as (row, column), in the paper's order."""
    names = {"right eye": "eye_right", "left eye": "eye_left", "nose": "nose"}
    points = entry["points_xy_in_face224"]
    parts = {name: points[key][::-1] for name, key in names.items()}
    return {"file": entry["file"], "class": entry["class_index"], "parts": parts}


if __name__ == "__main__":
    main()

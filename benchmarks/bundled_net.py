# ruff: noqa: E501 (rows of a Markdown table)
"""Makes the bundled net and its model card of a finished training run.

    zfkeras train --data imagenette/train --recipe imagenette --hold-out 20 --image-size 128 \
        --width 0.5 --fc-units 512 --seed 1 --output runs/imagenette
    python benchmarks/bundled_net.py runs/imagenette imagenette/val

The folders hold one directory per class, named as in WNIDS; the pictures are those of
imagenette224_train_a_2250, train_b_2250 (training) and val_600 (nothing but the last evaluation).
"""

import argparse
import json
from pathlib import Path

import numpy as np

from zfkeras.data.folders import image_folder
from zfkeras.models.loading import load_model
from zfkeras.models.weights import BUNDLED, metadata, save_weights
from zfkeras.models.zfnet import ZFNet
from zfkeras.training.evaluation import evaluate

WNIDS = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute",
}  # fmt: skip

CARD = """# Model card: `ZFNet(weights="imagenette")`

A small ZFNet (Zeiler & Fergus, Fig. 3, at {width} of its width) that tells ten ImageNet classes
apart:
{names}.
It is there to be looked into, in demos, examples and tests; it is not a good classifier by today's
measure.

| | |
| --- | --- |
| Architecture | `ZFNet(classes=10, input_shape={input_shape}, width={width}, fc_units={fc_units})`, {parameters:,} parameters |
| Input | RGB, 0..255; the mean picture is subtracted inside |
| File | `imagenette.npz`, {megabytes:.1f} MB; float16 (the mean picture float32), no pickle |
| Training pictures | 4,275 of the 4,500 in `imagenette224_train_a_2250` and `train_b_2250` (450 a class, 224x224, all from ILSVRC-2012 train); every 20th was held out |
| Test pictures | `imagenette224_val_600` (60 a class; 250 of the 600 from the official validation set); used once, for the table below, with the weights of the last epoch |
| Command | `{command}` |
| Recipe | {recipe} |
| Seed | {seed} |
| Code | commit {commit}{code_note} |
| Machine | 2 CPU cores, shared; no GPU |

## Accuracy

| weights | crops | top-1 | top-5 | cross-entropy |
| --- | --- | --- | --- | --- |
{accuracy}

Pictures are resized to 146x146 and cropped to 128x128 (plain: the centre; ten-crop: the mean of the
softmax over corners and centre, each also mirrored).
Of the 250 pictures that are in the official validation set, {official:.1%} are right (plain).

| class | right (plain), of 60 |
| --- | --- |
{per_class}

## Learning curve

Held-out is the 225 training pictures that were held out.

| epoch | loss | accuracy | held-out loss | held-out accuracy |
| --- | --- | --- | --- | --- |
{curve}

## Limits

Ten classes, and everything is one of them to this net. Its pictures are ImageNet's, which are for
non-commercial research and education, and have ImageNet's biases: many a tench is held by an
angler, and the angler counts.
"""


def accuracy_row(name: str, crops: str, result) -> str:
    return f"| {name} | {crops} | {result.accuracy:.1%} | {result.top(5):.1%} | {result.loss:.3f} |"


def numbers(result) -> dict[str, float]:
    return {"top1": result.accuracy, "top5": result.top(5), "loss": result.loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--commit", default="")
    parser.add_argument("--code-note", default="")
    chosen = parser.parse_args()
    model = load_model(chosen.run / "model.keras")
    old = metadata(chosen.run / "weights.npz")
    history = json.loads((chosen.run / "history.json").read_text())
    source = image_folder(chosen.val, class_names=tuple(old["class_names"]))
    assert source.cardinality == 600
    assert not source.skipped

    whole = {ten: evaluate(model, source, ten_crop=ten) for ten in (False, True)}
    command = (
        "zfkeras train --data imagenette/train --recipe imagenette --hold-out 20 "
        "--image-size 128 --width 0.5 --fc-units 512 --seed 1 --output runs/imagenette"
    )
    notes = {
        "data": "Imagenette (10 ImageNet classes): 4,275 pictures of imagenette224_train_a/b_2250",
        "command": command,
        "seed": old["seed"],
        "wnids": WNIDS,
        "labels": [wnid for name in old["class_names"] for wnid, n in WNIDS.items() if n == name],
    }
    # Twice: what the file says is what was measured after loading it.
    path = BUNDLED["imagenette"]
    save_weights(model, path, old["architecture"], old["class_names"], **notes)
    small = ZFNet(weights="imagenette")
    half = {ten: evaluate(small, source, ten_crop=ten) for ten in (False, True)}
    notes["accuracy"] = {"plain": numbers(half[False]), "ten-crop": numbers(half[True])}
    save_weights(model, path, old["architecture"], old["class_names"], **notes)

    right = half[False].probabilities.argmax(1) == half[False].labels
    files = [key[0].numpy().decode() for key in source.keys]
    official = np.array(["ILSVRC2012_val" in file for file in files])
    assert official.sum() == 250
    state = json.loads(str(np.load(chosen.run / "state.npz")["notes"]))
    shown = [row for row in history if row["epoch"] in (1, 2, 5) or row["epoch"] % 10 == 0]
    path.with_suffix(".md").write_text(
        CARD.format(
            **old["architecture"] | {"input_shape": tuple(old["architecture"]["input_shape"])},
            names=", ".join(old["class_names"]),
            parameters=small.count_params() - int(np.prod(small.input_shape[1:])),
            megabytes=path.stat().st_size / 1e6,
            seed=old["seed"],
            command=command,
            commit=chosen.commit,
            code_note=chosen.code_note,
            recipe=", ".join(f"{k} {v}" for k, v in state["fingerprint"]["recipe"].items()),
            accuracy="\n".join(
                accuracy_row(name, "ten" if ten else "plain", results[ten])
                for name, results in (("float16 file, as loaded", half), ("float32", whole))
                for ten in (False, True)
            ),
            official=right[official].mean(),
            per_class="\n".join(
                f"| {name} | {int(right[half[False].labels == i].sum())} |"
                for i, name in enumerate(old["class_names"])
            ),
            curve="\n".join(
                f"| {row['epoch']} | {row['loss']:.3f} | {row['accuracy']:.1%} | "
                f"{row['val_loss']:.3f} | {row['val_accuracy']:.1%} |"
                for row in shown
            ),
        )
    )
    print(json.dumps(notes["accuracy"], indent=1))


if __name__ == "__main__":
    main()

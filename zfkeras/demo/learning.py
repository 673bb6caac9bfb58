"""First step: a small ZFNet learns eight kinds of generated objects."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zfkeras.data.generated import Scenes, generated, scenes
from zfkeras.data.sources import from_arrays
from zfkeras.demo.budget import Budget
from zfkeras.models.zfnet import ZFNet
from zfkeras.report import figures, page, views
from zfkeras.training import fit as training
from zfkeras.training.evaluation import evaluate
from zfkeras.training.recipes import recipe
from zfkeras.types import Json


@dataclass(frozen=True)
class Trained:
    """The net trained on generated images, and what it says of images it has never seen."""

    model: keras.Model
    history: Sequence[dict[str, float]]
    unseen: Scenes
    probabilities: np.ndarray

    def view(self, budget: Budget) -> Json:
        """What the page shows of it."""
        columns = {name: [epoch[name] for epoch in self.history] for name in self.history[0]}
        right = (self.probabilities.argmax(axis=1) == self.unseen.labels).mean()
        return {
            "words": "The images are generated, so that the demo needs no data: one object of "
            f"{len(self.unseen.class_names)} kinds on a busy background, with its place known.",
            "facts": [
                (f"{100 * right:.0f} %", f"of {len(self.unseen.labels)} unseen images right"),
                (f"{budget.examples:,}", "images to learn from"),
                (f"{len(self.history)}", "times through them"),
                (f"{self.model.count_params():,}", "parameters"),
            ],
            "summary": f"from {columns['loss'][0]:.2f} to {columns['loss'][-1]:.2f} in loss",
            "curves": [
                page.Markup(figures.svg(figures.curves(columns, [metric])))
                for metric in ("loss", "accuracy")
            ],
            "samples": views.outcome(
                self.unseen.images[:16],
                self.probabilities[:16],
                self.unseen.labels[:16],
                self.unseen.class_names,
            ),
        }


def train(budget: Budget, folder: Path, say: Callable[[str], None]) -> Trained:
    """Trains a small ZFNet and classifies images it has not seen."""
    keras.utils.set_random_seed(1)
    unseen = scenes("validation", 200, budget.image_size)
    validation = from_arrays(unseen.images, unseen.labels, unseen.class_names, "unseen")
    model = ZFNet(
        classes=len(unseen.class_names),
        input_shape=(budget.image_size, budget.image_size, 3),
        width=budget.width,
        fc_units=256,
        dropout=0.2,
        name="generated",
    )
    settings = recipe(
        "zeiler-fergus", epochs=budget.epochs, batch_size=32, schedule="cosine", dropout=0.2,
        learning_rate=0.005, warmup_epochs=1, scale=(1.0, 1.1), crop="random",
        kernel_initializer=None,
    )  # fmt: skip
    source = generated("train", budget.examples, budget.image_size)
    with tempfile.TemporaryDirectory() as run_folder:
        progress = "auto" if sys.stdout.isatty() else 2
        history = training.train(model, source, settings, run_folder, validation, progress=progress)
    model.save(folder / "generated.keras")
    found = evaluate(model, validation, scale=1.0)
    say(f"   right for {100 * found.accuracy:.0f} % of images it had not seen")
    return Trained(model, history, unseen, found.probabilities)

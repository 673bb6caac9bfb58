"""The whole job on one machine, offline: train → look → occlude → serve → page."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras

from zfkeras.demo.budget import Budget
from zfkeras.demo.learning import train
from zfkeras.demo.projections import Net, look, occlude, occlude_known, photographs
from zfkeras.demo.serving import serve
from zfkeras.report import page
from zfkeras.version import __version__


@dataclass
class Stopwatch:
    """Announces the steps and notes how long each took."""

    say: Callable[[str], None]
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what happens inside the `with`."""
        self.say(f"\n{len(self.steps) + 1}. {name}")
        start = time.perf_counter()
        yield
        self.steps.append((name, time.perf_counter() - start))
        self.say(f"   {self.steps[-1][1]:.1f} s")

    @property
    def total(self) -> float:
        """Seconds of all steps together."""
        return sum(seconds for _, seconds in self.steps)


def run(
    output: str | os.PathLike[str],
    budget: Budget | None = None,
    serving: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Runs the demo and writes its pictures and its page.

    Args:
        output: folder for everything it leaves behind.
        budget: how much to do.
        serving: whether to export, serve and query the net too.
        say: what to do with a line of progress.

    Returns:
        The path of the page, `index.html`.
    """
    budget, folder, step = budget or Budget(), Path(output), Stopwatch(say)
    folder.mkdir(parents=True, exist_ok=True)
    net = Net.load(budget.model)  # first of all: a wrong name should cost no minute of training
    with step("Train a small ZFNet on generated images"):
        trained = train(budget, folder, say)
    with step("Look into a net at photographs"):
        photos = photographs(net)
        looks = look(budget, net, photos, folder)
    with step("Occlude photographs and generated images"):
        occlusions = occlude(budget, net, photos, folder)
        occlusions += occlude_known(budget, trained, folder)
    answers = None
    if serving:
        with step("Export the net, serve it, ask it over HTTP"):
            photo = next(iter(photos.values()))
            answers = serve(net.model, net.class_names, photo, budget.layers[-1], folder, say)
    return page.write(
        folder / "index.html",
        "demo.html",
        training=trained.view(budget),
        looking={"words": net.words, "looks": looks},
        occlusions=occlusions,
        served=answers,
        steps=step.steps,
        total=step.total,
        footer=f"Made by zfkeras {__version__} with Keras {keras.__version__}.",
    )

"""``zfkeras compare`` and ``faithfulness``: what heat maps are worth."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.groups import Head, Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import gathered, say
from zfkeras.types import Json

if TYPE_CHECKING:
    import keras

    from zfkeras.analysis.faithfulness import Faithfulness
    from zfkeras.graph.predictor import Predictor
    from zfkeras.image import Picture, Pictures

PATIENCE = 5.0  # minutes that one method may take in all shuffled nets, unless it is named


@dataclass(frozen=True)
class Question:
    """Which heat maps of which pictures are tested, and how."""

    images: list[Path] = options.IMAGES
    model: str = options.MODEL
    methods: str = typer.Option(
        "", help="Heat maps, with commas between [default: all; for faithfulness the quick ones]."
    )
    classes: str = options.CLASSES
    steps: int = typer.Option(24, help="Steps of deletion and insertion.")
    layer: str = typer.Option("", help="Whose units the deconvnet shows [default: last maps].")
    rules: str = options.RULES
    fit: str = options.FIT


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(compare)
    app.command()(faithfulness)


@spread
def compare(
    *,
    question: Question,
    loader: Loader,
    head: Head,
    output: Path = typer.Option(Path("comparison"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Put deconvnet, occlusion and the usual heat maps side by side, with their scores."""
    found, pictures, names = _tested(question, loader, head, randomize=False, quiet=as_json)
    from zfkeras.report import trust
    from zfkeras.report.figures import save

    result = _scores(found) | {
        "picture": str(save(trust.comparison(found, pictures, names), output / "comparison.png")),
        "curves": str(save(trust.curves(found), output / "curves.png")),
        "arrays": str(found.save(output / "comparison.npz")),
    }
    say(result, output / "comparison.json", as_json)


@spread
def faithfulness(
    *,
    question: Question,
    loader: Loader,
    head: Head,
    output: Path = typer.Option(Path("faithfulness"), help="Folder for pictures and arrays."),
    as_json: bool = options.JSON,
) -> None:
    """Test heat maps: deletion, insertion, likeness, and nets with shuffled weights."""
    found, pictures, names = _tested(question, loader, head, randomize=True, quiet=as_json)
    from zfkeras.report import trust
    from zfkeras.report.figures import save

    figures = {
        "picture": trust.comparison(found, pictures, names),
        "curves": trust.curves(found),
        "similarity": trust.similarity(found),
        "randomisation": trust.randomisation(found),
    }
    result = _scores(found)
    for name, figure in figures.items():
        result[name] = str(save(figure, output / f"{name}.png"))
    result["arrays"] = str(found.save(output / "faithfulness.npz"))
    say(result, output / "faithfulness.json", as_json)


def _tested(
    question: Question, loader: Loader, head: Head, randomize: bool, quiet: bool
) -> "tuple[Faithfulness, Pictures, tuple[str, ...] | None]":
    """The tests of `compare` and `faithfulness`, the pictures, and the classes' names."""
    load_tensorflow()
    from zfkeras.analysis.explanations import METHODS, Settings
    from zfkeras.analysis.faithfulness import faithfulness as measure

    net = loader.load(question.model)
    pictures = gathered(question.images, net, question.fit)
    names = head.class_names(net, question.model)
    methods = tuple(options.names(question.methods))
    if not methods:
        methods = _quick_methods(net, head, pictures) if randomize else METHODS
    found = measure(
        net,
        pictures,
        methods,
        classes=options.numbers("--classes", question.classes),
        steps=question.steps,
        randomize=randomize,
        settings=Settings(layer=question.layer or None, rules=open_rules(question.rules)),
        progress=not quiet,
        **head.asked,
    )
    for method, reason in found.skipped:
        typer.echo(f"skipped {method}: {reason}", err=True)
    return found, pictures, names


def _quick_methods(net: "keras.Model", head: Head, pictures: "Pictures") -> tuple[str, ...]:
    """Those that can be repeated for two shuffled nets a layer; says if occlusion can't."""
    from zfkeras.analysis.explanations import METHODS
    from zfkeras.analysis.painting import a_fifth
    from zfkeras.graph.copies import learned_weights
    from zfkeras.graph.walking import walk

    slow = {"smoothgrad", "gradcam++", "scorecam"}
    height, width = pictures[0].shape[:2]
    stride = max(1, a_fifth((height, width)) // 2)
    places = len(pictures) * -(-height // stride) * -(-width // stride)
    graph = walk(net)
    below = graph.steps_to(graph.output(head.output_name))
    nets = 2 * len({id(step.operation) for step in below if learned_weights(step.operation)})
    minutes = nets * places * _seconds_a_picture(head.predictor(net), pictures[0]) / 60
    if minutes > PATIENCE:
        slow.add("occlusion")
        typer.echo(
            f"Occlusion is left out: of {nets} nets with shuffled weights it would take some "
            f"{minutes:.0f} minutes. To have it, name it: --methods occlusion,…",
            err=True,
        )
    return tuple(method for method in METHODS if method not in slow)


def _seconds_a_picture(predictor: "Predictor", picture: "Picture", count: int = 8) -> float:
    import numpy as np

    many = np.stack([picture] * count)
    predictor(many)  # traces
    start = time.perf_counter()
    predictor(many)
    return (time.perf_counter() - start) / count


def _scores(found: "Faithfulness") -> Json:
    """Means over images: both areas and, where made, what shuffled weights leave of the maps."""
    columns = {way: area.mean(1) for way, area in found.areas().items()}
    if found.layers:
        columns["cascading"] = found.cascading.mean((1, 2))
        columns["all shuffled"] = found.cascading[:, :, -1].mean(1)
        columns["independent"] = found.independent.mean((1, 2))
    return {
        "classes": found.classes.tolist(),
        "p": found.baseline_probabilities.tolist(),
        "score_name": found.score_name,
        "skipped": dict(found.skipped),
        "scores": {
            method: {name: float(values[row]) for name, values in columns.items()}
            for row, method in enumerate(found.methods)
        },
    }

"""``zfkeras evolution``: what feature maps look for, epoch after epoch (Fig. 4)."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, opened, report_skipped, warnings_as_lines
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.modules import open_rules
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.telling import check_layers
from zfkeras.files import file_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import keras

    from zfkeras.deconvnet.rules import Rules


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(evolution)


@spread
def evolution(
    run: Path = typer.Argument(help="A run with --snapshot, its snapshots, or FeatureEvolution's."),
    data: str = typer.Option(
        "",
        callback=options.known_data,
        help=DATA_HELP + " Not needed for FeatureEvolution's folder.",
    ),
    layers: str = typer.Option("", help="L1,L2,… [default: every convolution]."),
    maps: str = typer.Option("6", help="How many maps of each layer, or which: 3,17,40."),
    patches: bool = typer.Option(False, "--patches", help="The patches under the projections."),
    batch_size: int = typer.Option(32, help="Pictures at a time."),
    output: Path | None = typer.Option(None, help="Folder of the strips [default: RUN/evolution]."),
    rules: str = options.RULES,
    *,
    loader: Loader,
    fit: str = options.FIT,
    as_json: bool = options.JSON,
) -> None:
    """Show what feature maps look for epoch after epoch of a training (Fig. 4)."""
    wanted = parse_maps(maps)
    load_tensorflow()
    from zfkeras.analysis.evolution import load_evolution
    from zfkeras.report import figures
    from zfkeras.report.evolution import strip

    place = run / "evolution" if output is None else output
    models = _epoch_models(run)
    if models:
        if not data:
            raise ValueError(
                "A run's models must be shown pictures, by --data. Received: no --data"
            )
        nets = ((epoch, loader.load(str(file))) for epoch, file in models.items())
        reverse = open_rules(rules)
        _evolve(
            nets, data, options.names(layers), wanted, place, batch_size, not as_json, reverse, fit
        )
    kept = load_evolution(place if models else run)
    chosen = options.names(layers) or list(kept)
    missing = [layer for layer in chosen if layer not in kept]
    if missing:
        raise ValueError(
            f"The evolution is of the layers {', '.join(kept)}. Received: layers={layers!r}"
        )
    told = {}
    for layer in chosen:
        file = place / f"{file_name(layer)}.png"
        told[layer] = str(figures.save(strip(kept[layer], patches), file))
        typer.echo(f"{layer}: {file}") if not as_json else None
    if as_json:
        typer.echo(json.dumps({"strips": told}))


def parse_maps(text: str) -> int | list[int]:
    """How many maps, or which.

    Example:
        >>> parse_maps("6"), parse_maps("3,17"), parse_maps("3,")
        (6, [3, 17], [3])
    """
    found = options.numbers("--maps", text)
    return list(found) if isinstance(found, tuple) else found


def _epoch_models(run: Path) -> dict[int, Path]:
    """{epoch: model} of the files epoch-NUMBER.keras of a run or of its folder of snapshots."""
    files = sorted(run.glob("epoch-*")) or sorted(run.glob("snapshots/epoch-*"))
    epochs = {file: re.match(r"epoch-(\d+).*\.(keras|h5)$", file.name) for file in files}
    return {int(epoch[1]): file for file, epoch in epochs.items() if epoch}


def _evolve(
    models: "Iterable[tuple[int, keras.Model]]",
    data: str,
    layers: list[str],
    maps: int | list[int],
    output: Path,
    batch_size: int,
    progress: bool,
    rules: "Rules | None",
    fit: str,
) -> None:
    """Keeps what the maps of each epoch's model look for."""
    from zfkeras.analysis.evolution import chosen_maps, save_snapshot, snapshots
    from zfkeras.graph.feature_layers import convolutions

    output.mkdir(parents=True, exist_ok=True)
    for epoch, net in models:
        check_layers(net, layers)
        with warnings_as_lines():
            source = opened(data, output, net, progress, fit)
            report_skipped([source])
            which: Any = maps
            if not isinstance(which, int):
                which = dict.fromkeys(layers or convolutions(net), which)
            wanted = chosen_maps(net, layers or None, which)
            found = snapshots(net, source, wanted, epoch, batch_size, progress, rules)
            for snapshot in found:
                save_snapshot(snapshot, output)

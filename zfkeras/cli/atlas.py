"""``zfkeras atlas``, ``filters`` and ``evolution``: what maps and filters look for."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zfkeras.cli.data import DATA_HELP, report_skipped
from zfkeras.cli.look import numbers
from zfkeras.cli.quiet import load_tensorflow
from zfkeras.cli.top import opened, warnings_as_lines

if TYPE_CHECKING:
    import keras

    from zfkeras.analysis.strongest import TopActivations

MAPS_MEASURED = 64  # whose projections tell how much of the lattice is in them

_DATA = typer.Option(..., help=DATA_HELP + " Or a folder of pictures.")
_LAYERS = typer.Option("", help="L1,L2,… [default: every convolution].")
_JSON = typer.Option(False, "--json", help="Print the result as JSON, nothing else.")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    for command in (atlas, filters, evolution):
        app.command()(command)


def atlas(
    model: str = typer.Argument("imagenette", help="A .keras file, or the bundled net."),
    data: str = _DATA,
    output: Path = typer.Option(Path("atlas"), help="Folder of the site; holds one, it goes on."),
    layers: str = _LAYERS,
    k: int = typer.Option(9, help="Units to show of each map."),
    maps: int | None = typer.Option(None, help="Maps to show of each layer [default: all]."),
    title: str = typer.Option("", help="What the site is called [default: the net's name]."),
    batch_size: int = typer.Option(32, help="Pictures at a time."),
    save_every: int = typer.Option(20, help="Batches between two savings of the search."),
    arrays: bool = typer.Option(True, help="Keep patches and projections as arrays as well."),
    as_json: bool = _JSON,
) -> None:
    """Make a site of what every feature map looks for (Fig. 2); killed, it goes on."""
    load_tensorflow()
    from zfkeras.atlas import write_atlas
    from zfkeras.models.loading import load_model

    output.mkdir(parents=True, exist_ok=True)
    net = load_model(model)
    with warnings_as_lines():
        source = opened(data, output, net, not as_json)
        report_skipped([source])
        try:
            page = write_atlas(
                net,
                source,
                output,
                names(layers),
                k,
                maps,
                title or None,
                batch_size=batch_size,
                save_every=save_every,
                arrays=arrays,
                progress=not as_json,
            )
        except KeyboardInterrupt:
            typer.echo(f"Interrupted. The same command goes on from {output}.", err=True)
            raise typer.Exit(130) from None
    if as_json:
        skipped = [skip.name for skip in source.skipped]
        typer.echo(json.dumps({"page": str(page), "skipped": skipped}))
    else:
        typer.echo(f"Open {page.resolve().as_uri()} in a browser.")


def filters(
    model: str = typer.Argument("imagenette", help="A .keras file, or the bundled net."),
    other: str = typer.Argument("", help="Another one, to show beside it."),
    data: str = typer.Option("", help=DATA_HELP + " To tell what hardly fires, and aliasing."),
    layer: str = typer.Option("", help="A convolution [default: each net's first]."),
    radius: float = typer.Option(0.1, help="RMS that renormalised filters have at most."),
    output: Path = typer.Option(Path("filters"), help="Folder for pictures and tables."),
    as_json: bool = _JSON,
) -> None:
    """Measure first-layer filters, as they are and renormalised, of one net or two (Fig. 6)."""
    load_tensorflow()
    from zfkeras import image
    from zfkeras.analysis.filters import compare, filter_statistics
    from zfkeras.models.loading import load_model
    from zfkeras.report import figures
    from zfkeras.report import filters as drawing

    found, lattices = {}, {}
    for name, path in _named(model, other).items():
        net = load_model(path)
        place = filter_statistics(net, layer or None).layer
        top, extra = _searched(net, data, place, output, not as_json) if data else (None, {})
        for kind, limit in ((name, None), (f"{name}, RMS ≤ {radius:g}", radius)):
            found[kind] = filter_statistics(net, place, top, limit)
            file = f"{_file_name(name)}{'-renormalised' if limit else ''}"
            image.save(output / f"{file}.png", drawing.bank(found[kind]))
            found[kind].save(output / f"{file}.npz")
        image.save(output / f"{_file_name(name)}-each.png", drawing.bank(found[name], False))
        lattices[name] = extra
    table = compare(found)
    for name, extra in lattices.items():
        for number, value in extra.items():
            table.setdefault(number, {})[name] = value
    figures.save(drawing.figure(found), output / "filters.png")
    figures.save(drawing.table(table), output / "table.png")
    drawing.write_table(table, output / "filters.csv")
    image.write_atomically(output / "filters.json", json.dumps(table, indent=2).encode())
    typer.echo(json.dumps(table) if as_json else _text(table))
    if not as_json:
        typer.echo(f"Pictures and tables are in {output}.")


def evolution(
    run: Path = typer.Argument(help="A run with --snapshot, its snapshots, or FeatureEvolution's."),
    data: str = typer.Option("", help=DATA_HELP + " Not needed for FeatureEvolution's folder."),
    layers: str = _LAYERS,
    maps: str = typer.Option("6", help="How many maps of each layer, or which: 3,17,40."),
    patches: bool = typer.Option(False, "--patches", help="The patches under the projections."),
    batch_size: int = typer.Option(32, help="Pictures at a time."),
    output: Path | None = typer.Option(None, help="Folder of the strips [default: RUN/evolution]."),
    as_json: bool = _JSON,
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
        _evolve(models, data, names(layers), wanted, place, batch_size, not as_json)
    kept = load_evolution(place if models else run)
    chosen = names(layers) or list(kept)
    missing = [layer for layer in chosen if layer not in kept]
    if missing:
        raise ValueError(
            f"The evolution is of the layers {', '.join(kept)}. Received: layers={layers!r}"
        )
    told = {}
    for layer in chosen:
        file = place / f"{_file_name(layer)}.png"
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
    found = numbers("--maps", text)
    return list(found) if isinstance(found, tuple) else found


# === What they share ===


def names(text: str) -> list[str] | None:
    """Names with commas between them; none for an empty text.

    Example:
        >>> names("conv1, conv2"), names("")
        (['conv1', 'conv2'], None)
    """
    return [name.strip() for name in text.split(",") if name.strip()] or None


def _named(model: str, other: str) -> dict[str, str]:
    """{what a net is called: its file}; by their paths where the file names are the same."""
    paths = [path for path in (model, other) if path]
    stems = [Path(path).stem for path in paths]
    return dict(zip(stems if len(set(stems)) == len(stems) else paths, paths, strict=True))


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def _searched(
    net: "keras.Model", data: str, layer: str, output: Path, progress: bool
) -> "tuple[TopActivations, dict[str, float]]":
    """The strongest units of a layer, and how much of its lattice the next one's show."""
    import numpy as np

    from zfkeras.analysis.filters import filter_statistics, projection_aliasing
    from zfkeras.analysis.top_activations import convolutions, top_activations
    from zfkeras.data.stream import stream
    from zfkeras.deconvnet.net import DeconvNet
    from zfkeras.graph.walking import walk

    output.mkdir(parents=True, exist_ok=True)
    with warnings_as_lines():
        source = opened(data, output, net, progress)
        report_skipped([source])
        row = stream(source, walk(net).shapes[0][1:])
        above = [*convolutions(net), layer][convolutions(net).index(layer) + 1]
        found = top_activations(net, row, [layer, above], k=1, progress=progress)
    stride, best = filter_statistics(net, layer).stride, found[above]
    fire = np.flatnonzero(best.values[:, 0] > 0)[:MAPS_MEASURED]
    if above == layer or stride < 2 or not len(fire):
        return found[layer], {}
    keys, index = np.unique(best.keys[fire, 0], return_inverse=True)
    units = np.column_stack([index.reshape(-1), best.positions[fire, 0], fire])
    images = row.pick(keys)[0]
    projected = DeconvNet(net).project_units(images, above, units, progress=progress)
    # In whole images, for the lattice's frequencies are hardly among those of a small crop.
    lattice = projection_aliasing(projected.paste(), stride).mean()
    return found[layer], {f"lattice in {above}": float(lattice)}


def _text(table: dict[str, dict[str, float]]) -> str:
    """The table to read."""
    nets = list(dict.fromkeys(net for row in table.values() for net in row))
    width = max(map(len, table)) + 2
    lines = [" " * width + "  ".join(f"{net:>14}" for net in nets)]
    for number, row in table.items():
        cells = (f"{row[net]:14.4g}" if net in row else " " * 14 for net in nets)
        lines.append(f"{number:{width}}" + "  ".join(cells))
    return "\n".join(lines)


def _epoch_models(run: Path) -> dict[int, Path]:
    """{epoch: model} of a run or its folder of snapshots; none if it holds none."""
    files = sorted(run.glob("epoch-*.keras")) or sorted(run.glob("snapshots/epoch-*.keras"))
    return {int(file.stem.removeprefix("epoch-")): file for file in files}


def _evolve(
    models: dict[int, Path],
    data: str,
    layers: list[str] | None,
    maps: int | list[int],
    output: Path,
    batch_size: int,
    progress: bool,
) -> None:
    """Keeps what the maps of each epoch's model look for."""
    from zfkeras.analysis.evolution import chosen_maps, save_snapshot, snapshots
    from zfkeras.analysis.top_activations import convolutions
    from zfkeras.models.loading import load_model

    output.mkdir(parents=True, exist_ok=True)
    for epoch, file in models.items():
        net = load_model(file)
        with warnings_as_lines():
            source = opened(data, output, net, progress)
            report_skipped([source])
            which: Any = maps
            if not isinstance(which, int):
                which = dict.fromkeys(layers or convolutions(net), which)
            wanted = chosen_maps(net, layers, which)
            for snapshot in snapshots(net, source, wanted, epoch, batch_size, progress):
                save_snapshot(snapshot, output)

"""``zfkeras filters``: first-layer filters, of one net or two (Fig. 6)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zfkeras.cli import options
from zfkeras.cli.data import DATA_HELP, opened, report_skipped, warnings_as_lines
from zfkeras.cli.groups import Loader, spread
from zfkeras.cli.quiet import load_tensorflow

if TYPE_CHECKING:
    import keras

    from zfkeras.analysis.top_result import TopActivations

MAPS_MEASURED = 64  # whose projections tell how much of the lattice is in them


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(filters)


@spread
def filters(
    model: str = typer.Argument(
        "imagenette", callback=options.known_model, help="A .keras file, or the bundled net."
    ),
    other: str = typer.Argument("", help="Another one, to show beside it."),
    data: str = typer.Option(
        "",
        callback=options.known_data,
        help=DATA_HELP + " To tell what hardly fires, and aliasing.",
    ),
    layer: str = typer.Option("", help="A convolution [default: each net's first]."),
    radius: float = typer.Option(0.1, help="RMS that renormalised filters have at most."),
    output: Path = typer.Option(Path("filters"), help="Folder for pictures and tables."),
    *,
    loader: Loader,
    fit: str = options.FIT,
    as_json: bool = options.JSON,
) -> None:
    """Measure first-layer filters, as they are and renormalised, of one net or two (Fig. 6)."""
    load_tensorflow()
    from zfkeras import image
    from zfkeras.analysis.filters import compare, filter_statistics
    from zfkeras.files import file_name, write_atomically
    from zfkeras.report import figures, filters as drawing

    found, lattices = {}, {}
    for name, path in _named(model, other).items():
        net = loader.load(path)
        place = filter_statistics(net, layer or None).layer
        top, extra = _searched(net, data, place, output, not as_json, fit) if data else (None, {})
        for kind, limit in ((name, None), (f"{name}, RMS ≤ {radius:g}", radius)):
            found[kind] = filter_statistics(net, place, top, limit)
            file = f"{file_name(name)}{'-renormalised' if limit else ''}"
            image.save(output / f"{file}.png", drawing.bank(found[kind]))
            found[kind].save(output / f"{file}.npz")
        image.save(output / f"{file_name(name)}-each.png", drawing.bank(found[name], False))
        lattices[name] = extra
    table = compare(found)
    for name, extra in lattices.items():
        for number, value in extra.items():
            table.setdefault(number, {})[name] = value
    figures.save(drawing.figure(found), output / "filters.png")
    figures.save(drawing.table(table), output / "table.png")
    drawing.write_table(table, output / "filters.csv")
    write_atomically(output / "filters.json", json.dumps(table, indent=2).encode())
    typer.echo(json.dumps(table) if as_json else _text(table))
    if not as_json:
        typer.echo(f"Pictures and tables are in {output}.")


def _named(model: str, other: str) -> dict[str, str]:
    """{what a net is called: its file}; by their paths where the file names are the same."""
    paths = [path for path in (model, other) if path]
    stems = [Path(path).stem for path in paths]
    return dict(zip(stems if len(set(stems)) == len(stems) else paths, paths, strict=True))


def _searched(
    net: "keras.Model", data: str, layer: str, output: Path, progress: bool, fit: str
) -> "tuple[TopActivations, dict[str, float]]":
    """The strongest units of a layer, and how much of its lattice the next one's show."""
    import numpy as np

    from zfkeras.analysis.filters import filter_statistics, projection_aliasing
    from zfkeras.analysis.top_activations import top_activations
    from zfkeras.data.stream import stream
    from zfkeras.deconvnet.net import DeconvNet
    from zfkeras.graph.feature_layers import convolutions
    from zfkeras.graph.walking import walk

    output.mkdir(parents=True, exist_ok=True)
    with warnings_as_lines():
        source = opened(data, output, net, progress, fit)
        report_skipped([source])
        row = stream(source, walk(net).shapes[0][1:])
        above = [*convolutions(net), layer][convolutions(net).index(layer) + 1]
        found = top_activations(net, row, [layer, above], k=1, progress=progress)
    stride, best = filter_statistics(net, layer).stride, found[above]
    fire = np.flatnonzero(best.values[:, 0] > 0)[:MAPS_MEASURED]
    if above == layer or stride < 2 or not len(fire):
        return found[layer], {}
    deconv = DeconvNet(net)
    if reason := deconv.why_not(above):
        typer.echo(f"How much of the lattice is in {above} is not measured: {reason}", err=True)
        return found[layer], {}
    keys, index = np.unique(best.keys[fire, 0], return_inverse=True)
    units = np.column_stack([index.reshape(-1), best.positions[fire, 0], fire])
    images = row.pick(keys)[0]
    projected = deconv.project_units(images, above, units, progress=progress)
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

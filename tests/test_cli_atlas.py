"""`zfkeras atlas` and `zfkeras filters`."""

import csv
import json

import numpy as np
import pytest
from test_atlas import data, files, net, photos  # noqa: F401
from typer.testing import CliRunner

from zfkeras import image
from zfkeras.analysis.filters import FilterStatistics, filter_statistics
from zfkeras.cli import app


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "little.keras"
    net().save(path)
    return path


def test_atlas_writes_a_site_and_says_where(model, data, tmp_path):  # noqa: F811
    (data / "class 0 & <b>/torn.png").write_bytes(b"torn")
    common = ("atlas", model, "--data", data, "--output", tmp_path, "--layers", "conv2,conv1")
    try:
        told = json.loads(run(*common, "--k", 3, "--maps", 2, "--json").stdout)
    finally:
        (data / "class 0 & <b>/torn.png").unlink()
    assert told["skipped"] == ["class 0 & <b>/torn.png"]
    assert told["page"] == str(tmp_path / "index.html")
    assert {"top.npz", "units.csv", "maps.csv"} <= set(files(tmp_path))
    assert (tmp_path / "data/00-conv2.js").is_file()
    with pytest.raises(ValueError, match="no layer of this name"):
        run("atlas", model, "--data", data, "--output", tmp_path / "b", "--layers", "conv7")


@pytest.mark.slow
def test_filters_of_two_nets_side_by_side(model, data, tmp_path):  # noqa: F811
    other = tmp_path / "other.keras"
    net().save(other)
    arguments = ("--data", data, "--output", tmp_path / "out", "--radius", 0.05)
    table = json.loads(run("filters", model, other, *arguments, "--json").stdout)
    assert set(table["filters"]) == {
        "little", "other", "little, RMS ≤ 0.05", "other, RMS ≤ 0.05"
    }  # fmt: skip
    assert table["largest RMS"]["little, RMS ≤ 0.05"] == pytest.approx(0.05, rel=1e-4)
    assert table["largest RMS"]["little"] > 0.09
    assert table["dead by activation"]["little"] == pytest.approx(1 / 5)
    assert 0 < table["lattice in conv2"]["little"] < 1
    assert json.loads((tmp_path / "out/filters.json").read_text()) == table
    with (tmp_path / "out/filters.csv").open() as file:
        rows = {row["number"]: row for row in csv.DictReader(file)}
    assert float(rows["dominance"]["little"]) == pytest.approx(
        filter_statistics(net()).dominance, rel=1e-4
    )
    kept = FilterStatistics.load(tmp_path / "out/little-renormalised.npz")
    assert np.sqrt((kept.kernels**2).mean((0, 1, 2))).max() == pytest.approx(0.05, rel=1e-4)
    for name in ("little", "little-renormalised", "little-each", "filters", "table"):
        assert image.load(tmp_path / f"out/{name}.png").std() > 0


def test_filters_without_data_are_a_table(model, tmp_path):
    told = run("filters", model, "--output", tmp_path).stdout
    assert "dominance" in told
    assert "dead by activation" not in told
    with pytest.raises(ValueError, match="no layer of this name|Conv2D"):
        run("filters", model, "--layer", "conv9", "--output", tmp_path)

"""The search on Beam's local runners against one in a single process."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from test_top_activations import LAYERS, contents, small_net

from zfkeras.analysis.top_activations import load_results, save_results, top_activations
from zfkeras.models.loading import load_model

beam = pytest.importorskip("apache_beam")
ours = pytest.importorskip("zfkeras.analysis.beam")

SETTINGS = {"layers": LAYERS, "k": 3, "batch_size": 4}


def load(path):
    """Model and data set, in each worker."""
    images = np.random.default_rng(0).integers(0, 256, (26, 13, 18, 3)).astype("uint8")
    return load_model(path), images


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("beam") / "net.keras"
    small_net().save(path)
    return path


@pytest.fixture(scope="module")
def alone(path):
    return top_activations(*load(path), **SETTINGS)


def run(path, output, **options):
    options = beam.options.pipeline_options.PipelineOptions(**options)
    search = ours.TopActivations(functools.partial(load, path), 4, **SETTINGS)
    with beam.Pipeline(runner="FnApiRunner", options=options) as pipeline:
        pipeline | beam.Create(range(4)) | search | beam.Map(save_results, str(output))
    return load_results(output)


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_beam_finds_what_one_process_finds(path, alone, tmp_path, mode):
    found = run(path, tmp_path / "top.npz", direct_running_mode=mode, direct_num_workers=2)
    assert contents(found) == contents(alone)


@pytest.mark.slow
def test_workers_may_be_processes(path, alone, tmp_path, monkeypatch):
    # The workers import this module to find `load`.
    places = [str(Path(__file__).parent), *sys.path]
    monkeypatch.setenv("PYTHONPATH", ":".join(place for place in places if place))
    found = run(
        path, tmp_path / "top.npz", direct_running_mode="multi_processing", direct_num_workers=2
    )
    assert contents(found) == contents(alone)


def test_results_are_combined_in_any_grouping(path, alone):
    net, images = load(path)
    a, b, c = (top_activations(net, images, shard=(i, 3), **SETTINGS) for i in range(3))
    combine = ours.MergeResults()
    none = combine.create_accumulator()
    left = combine.add_input(combine.add_input(none, c), a)
    right = combine.merge_accumulators([none, combine.add_input(none, b)])
    merged = combine.extract_output(combine.merge_accumulators([right, left, left]))
    assert contents(merged) == contents(alone)
    assert combine.extract_output(combine.merge_accumulators([none, none])) == {}

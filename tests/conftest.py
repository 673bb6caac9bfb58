"""Shared fixtures: the developers' real data (skipped where absent), and the slow tier."""

import math
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest

# Programs that tests start as processes of their own: nothing to collect.
collect_ignore_glob = ["kill_*.py", "mirrored_*.py"]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared():
    """The folder of real images and weights beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def whole_maps(monkeypatch):
    """`project` stays on whole maps, whatever went before: it is what crops are compared with."""
    monkeypatch.setattr("zfkeras.deconvnet.net.CROPS_FROM", math.inf)


@pytest.fixture
def rng():
    return np.random.default_rng(0x2F)


@pytest.fixture(scope="session")
def tiny():
    """A tiny ZFNet on images of 72 x 64, untrained, with visibly different classes."""
    import keras

    import zfkeras as zf

    keras.utils.set_random_seed(4)
    return zf.ZFNet(classes=7, input_shape=(72, 64, 3), width=0.06, fc_units=24)


@pytest.fixture(scope="session")
def exported(tiny, tmp_path_factory):
    """A model directory "tiny" with version 1 of the tiny ZFNet."""
    import zfkeras as zf

    directory = tmp_path_factory.mktemp("models") / "tiny"
    zf.export(
        tiny,
        directory,
        class_names=["ant", "bee", "cat", "dog", "eel", "fox", "gnu"],
        layers=["conv1", "conv3", "conv5"],
        occlusion_strides=(13, 12),
        top=4,
    )
    return directory


@pytest.fixture(scope="session")
def served(exported):
    """URL of a local server with the exported tiny ZFNet under the name "zfnet"."""
    from zfkeras.server import ModelConfig, serving

    with serving([ModelConfig("zfnet", exported)]) as url:
        yield url

"""Correspondence, invariance and trust on real SqueezeNet and nine real dog faces."""

import json

import numpy as np
import pytest

from zfkeras.analysis.explanations import explanations
from zfkeras.analysis.invariance import invariance
from zfkeras.analysis.landmarks import load_landmarks
from zfkeras.analysis.randomization import rank_correlation
from zfkeras.experiments.fig8 import measure
from zfkeras.experiments.table1 import hiding, hiding_all
from zfkeras.graph.copies import FlatCopy, randomized
from zfkeras.graph.predictor import Predictor

import networks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(shared):
    return networks.squeezenet(shared)


@pytest.fixture(scope="module")
def faces(shared, tmp_path_factory):
    entries = json.loads((shared / "dog_faces" / "landmarks.json").read_text())
    marks = [
        {
            "file": entry["file"],
            "class": entry["class_index"],
            "parts": {k: point[::-1] for k, point in entry["points_xy_in_face224"].items()},
        }
        for entry in entries
    ]
    path = tmp_path_factory.mktemp("faces") / "landmarks.json"
    path.write_text(json.dumps(marks))
    return load_landmarks(path, (227, 227), shared / "dog_faces")


def test_eyes_and_noses_correspond_more_than_random_parts_and_matter_more(model, faces):
    # scores that are means after a ReLU stay as they are unless the user says otherwise
    found = measure(model, faces, ["pool8", "scores"], draws=5, scores="softmax")
    assert found.distances.shape == (3, 2, 36)
    for name, change in (("distances", -1), ("agreements", 1)):
        rows = found.scores(name)
        chance = rows.pop("random")[:, 0]
        for row in rows.values():
            assert (change * (row[:, 0] - chance) > 0).all()
    predictor = Predictor(model, scores="softmax")
    together = hiding_all(predictor, found, faces, seed=0, progress=False)
    assert together["part"] < -0.3 < -0.2 < together["random"]
    assert together["images_hurt_more"] >= 8
    assert all(one["part"] < one["random"] for one in hiding(found).values())


def test_the_first_layer_moves_faster_than_the_last(model, faces):
    amounts = {"vertical": [5, 30], "scale": [1.1], "rotation": [10]}
    found = invariance(model, faces.images[:3], ["pool1", "scores"], transforms=amounts)
    first, last = found.unit_distances[:, 0], found.unit_distances[:, 1]
    assert (first > 2 * last).all()


def test_deconvnet_pictures_outlive_the_classifier_and_not_the_net(model, faces):
    """The caveat of docs/trust.md: shuffling the uppermost layer changes them little."""
    images, classes = faces.images[:2], faces.classes[:2]
    before = explanations(model, images, ("deconvnet", "gradcam"), classes)
    copy = FlatCopy(model).model
    left = []
    for name in randomized(copy, "cascading"):
        if name in ("conv10", "conv1"):
            after = explanations(copy, images, ("deconvnet", "gradcam"), classes)
            left.append([rank_correlation(a, b).mean() for a, b in zip(before, after, strict=True)])
    (deconvnet_top, gradcam_top), (deconvnet_all, _) = np.array(left)
    assert deconvnet_top > 0.7 > gradcam_top
    assert abs(deconvnet_all) < 0.3

"""Correspondence: the fixture of method.md, Correspondence, and a net run by hand."""

import itertools

import keras
import numpy as np
import pytest

import zfkeras as zf
from zfkeras.analysis.correspondence import (
    correspondence,
    pair_agreements,
    pair_distances,
    part_masks,
    random_boxes,
    sign_changes,
)

HEIGHT, WIDTH = 16, 21
NOSES = [[5, 6], [8, 12], [10, 9], [4, 14]]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(9)
    pixels = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="conv1")(pixels)
    x = keras.layers.MaxPooling2D(2, name="pool1")(x)
    x = keras.layers.Dense(8, activation="relu", name="fc")(keras.layers.Flatten()(x))
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (4, HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_the_fixture_of_the_specification():
    signs = [[1, 0, -1, 1], [1, 0, -1, -1], [1, 0, 1, 1]]
    distances = pair_distances(signs)
    assert sorted(distances.tolist()) == [0.25, 0.25, 0.5]
    assert distances.mean() == pytest.approx(0.3333, abs=1e-4)
    assert distances.std() == pytest.approx(0.11785, abs=1e-5)


def test_equal_opposite_and_random_changes(rng):
    row = rng.choice([-1, 1], 500)
    assert pair_distances([row, row]).tolist() == [0]
    assert pair_distances([row, -row]).tolist() == [1]
    ternary = rng.integers(-1, 2, (5, 6000))
    np.testing.assert_allclose(pair_distances(ternary), 2 / 3, atol=0.03)
    np.testing.assert_allclose(pair_agreements(ternary), 0, atol=0.04)
    assert pair_agreements([row, row]).tolist() == [1]
    assert pair_agreements([[0, 0], [0, 0]]).tolist() == [1]


def test_agreement_is_cohen_s_kappa(rng):
    from sklearn.metrics import cohen_kappa_score

    signs = rng.choice([-1, 0, 1], (4, 300), p=[0.1, 0.6, 0.3])
    expected = [cohen_kappa_score(a, b) for a, b in itertools.combinations(signs, 2)]
    np.testing.assert_allclose(pair_agreements(signs), expected)


def test_signs_are_of_what_is_lost():
    assert sign_changes([[[3.0, 1.0, 2.0]]], [[[1.0, 1.0, 5.0]]]).tolist() == [[1, 0, -1]]


def test_everything_equals_a_net_run_by_hand(model, images):
    found = correspondence(
        model, images, {"nose": NOSES}, ["pool1", "fc"], (5, 4), draws=2, fill_value=9.0, classes=1
    )
    run = keras.Model(model.input, [model.get_layer("pool1").output, *model.outputs])
    for boxes, distances, seen in zip(
        [found.boxes[0], *found.random_boxes],
        [found.distances[0], *found.random_distances],
        [found.probabilities[0], *found.random_probabilities],
        strict=True,
    ):
        signs = []
        for image, (top, left, bottom, right), answer in zip(images, boxes, seen, strict=True):
            hidden = image.astype("f4")
            hidden[top:bottom, left:right] = 9
            before, _ = run(image[None].astype("f4"))
            after, probabilities = run(hidden[None])
            signs.append(
                [np.sign(a - b) for a, b in zip(np.ravel(before), np.ravel(after), strict=False)]
            )
            assert answer == pytest.approx(float(probabilities[0, 1]), abs=1e-5)
        expected = [
            sum(a != b for a, b in zip(signs[i], signs[j], strict=True)) / len(signs[i])
            for i, j in itertools.combinations(range(4), 2)
        ]
        np.testing.assert_allclose(distances[0], expected, atol=0.02)
    assert found.boxes[0, 0].tolist() == [3, 4, 8, 8]
    assert found.features.tolist() == [3 * 5 * 6, 8]


def test_table_and_totals(model, images):
    found = correspondence(model, images, {"a": NOSES, "b": NOSES[::-1]}, ["pool1", "fc"], 5)
    scores, totals = found.scores(), found.totals()
    assert list(scores) == ["a", "b", "random"]
    assert found.random_distances.shape == (10, 2, 6)
    np.testing.assert_allclose(
        scores["b"][1], [found.distances[1, 1].mean(), found.distances[1, 1].std()]
    )
    every = found.random_distances[:, 0]
    np.testing.assert_allclose(scores["random"][0], [every.mean(), every.std()], rtol=1e-5)
    ordered = sum(2 * found.distances[0, 0, m] * 90 for m in range(6))
    assert totals["a"][0] == pytest.approx(ordered, rel=1e-5)


def test_points_boxes_and_masks_are_the_same_parts():
    shape = (2, HEIGHT, WIDTH)
    masks = np.zeros(shape, bool)
    masks[0, 3:8, 5:10] = masks[1, 0:3, 18:21] = True
    boxes = [[3, 5, 8, 10], [0, 18, 3, 21]]
    parts = {"mask": masks, "box": boxes, "point": [[5, 7], [0, 20]]}
    by_mask, by_box, by_point = part_masks(parts, shape, 5)
    np.testing.assert_array_equal(by_mask, by_box)
    np.testing.assert_array_equal(by_mask, by_point)


def test_random_parts_lie_in_the_object_and_follow_the_seed():
    within, sizes = np.array([[2, 3, 12, 20], [0, 0, 9, 9]]), np.array([[4, 5], [9, 2]])
    drawn = random_boxes(np.random.default_rng(1), within, sizes, 200)
    assert drawn.shape == (200, 2, 4)
    assert (drawn[..., :2] >= within[:, :2]).all()
    assert (drawn[..., 2:] <= within[:, 2:]).all()
    assert (drawn[..., 2:] - drawn[..., :2] == sizes).all()
    assert drawn[:, 0, 0].min() == 2
    assert drawn[:, 0, 2].max() == 12
    np.testing.assert_array_equal(drawn, random_boxes(np.random.default_rng(1), within, sizes, 200))
    assert (drawn != random_boxes(np.random.default_rng(2), within, sizes, 200)).any()
    same = random_boxes(np.random.default_rng(1), within[[0, 0]], sizes[[0, 0]], 9, together=True)
    np.testing.assert_array_equal(same[:, 0], same[:, 1])
    assert (drawn[:, 0, :2] != drawn[:, 1, :2]).any()


def test_every_argument_matters_but_the_batch_size(model, images):
    usual = {"parts": {"nose": NOSES}, "layers": "pool1", "patch_size": 5, "draws": 3}
    found = correspondence(model, images, **usual)
    again = correspondence(model, images, **usual, batch_size=2)
    np.testing.assert_allclose(found.probabilities, again.probabilities, atol=1e-6)
    boxes = [2, 2, 10, 12]
    for change in ({"patch_size": 3}, {"fill_value": "mean"}, {"seed": 4}, {"boxes": boxes},
                   {"together": True}, {"draws": 2}, {"classes": [0, 1, 2, 0]}):  # fmt: skip
        other = correspondence(model, images, **usual | change)
        same = other.random_probabilities.shape == found.random_probabilities.shape
        assert not same or not np.allclose(other.random_probabilities, found.random_probabilities)
    assert (
        correspondence(model, images, **usual | {"boxes": boxes}).random_boxes[..., 3] <= 12
    ).all()


def test_without_a_control_and_kept_in_a_file(model, images, tmp_path):
    found = correspondence(model, images, {"nose": NOSES}, "fc", 4, draws=0)
    assert list(found.scores()) == ["nose"]
    loaded = zf.Correspondence.load(found.save(tmp_path / "found.npz"))
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((1, HEIGHT, WIDTH, 3))}, "at least 2.*1 images"),
        ({"parts": {}}, "at least one part.*parts={}"),
        ({"parts": {"ear": [[1, 2]]}}, r"centres \(4, 2\).*parts\['ear'\].*\(1, 2\)"),
        ({"patch_size": None}, "patch_size=None"),
        ({"patch_size": 0}, "patch_size=0"),
        ({"parts": {"ear": [[1, 2]] * 3 + [[90, 90]]}}, r"cover.*parts\['ear'\].*\[3\]"),
        ({"boxes": [0, 0, 3, 3]}, r"room for the first part.*boxes=\[0, 0, 3, 3\]"),
        ({"boxes": [0, 0, 99, 9]}, "lie inside"),
        ({"draws": -1}, "draws=-1"),
        ({"layers": []}, r"one or more layers.*layers=\(\)"),
        ({"fill_value": "blur"}, "fill_value='blur'"),
        ({"classes": [3]}, r"shape \(4,\).*classes=\[3\]"),
    ],
)
def test_bad_input(model, images, change, message):
    arguments = {"images": images, "parts": {"nose": NOSES}, "layers": "fc", "patch_size": 5}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        correspondence(model, **arguments | change)


def test_an_unknown_measure(model, images):
    found = correspondence(model, images, {"nose": NOSES}, "fc", 4, draws=1)
    with pytest.raises(ValueError, match=r"\('distances', 'agreements'\).*measure='kappa'"):
        found.scores("kappa")

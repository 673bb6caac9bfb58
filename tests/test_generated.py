"""The generated set: deterministic, balanced, boxes that hold the object."""

import numpy as np
import pytest

from zfkeras.data.generated import generated, scenes


def test_a_picture_depends_on_seed_split_and_number_only():
    first, again = scenes(count=9, image_size=40), scenes(count=17, image_size=40)
    np.testing.assert_array_equal(first.images, again.images[:9])
    np.testing.assert_array_equal(first.boxes, again.boxes[:9])
    for other in (scenes("validation", 9, 40), scenes(count=9, image_size=40, seed=1)):
        assert (first.images != other.images).any((1, 2, 3)).all()


def test_classes_take_turns():
    made = scenes(count=20, image_size=24)
    assert len(made.class_names) == len(set(made.class_names)) == 8
    np.testing.assert_array_equal(made.labels, np.arange(20) % 8)
    assert (made.images.shape, made.images.dtype) == ((20, 24, 24, 3), np.uint8)


def test_boxes_lie_within_and_hold_an_object():
    made = scenes(count=48, image_size=64)
    top, left, bottom, right = made.boxes.T
    assert (made.boxes >= 0).all()
    assert (made.boxes <= 64).all()
    for extent in (bottom - top, right - left):
        assert extent.min() >= 12  # never a speck,
        assert extent.max() <= 52  # never the whole picture
    centres = np.stack([top + bottom, left + right]) / 2
    assert centres.std(1).min() > 4  # anywhere


def test_what_is_in_the_box_tells_the_class_and_what_is_outside_does_not():
    """A nearest-neighbour on mean colours and contrasts in and out of the box."""

    def features(made, inside):
        rows = []
        for image, (top, left, bottom, right) in zip(made.images, made.boxes, strict=True):
            mask = np.zeros(image.shape[:2], bool)
            mask[top:bottom, left:right] = True
            pixels = image[mask if inside else ~mask].astype(float)
            rows.append(np.concatenate([pixels.mean(0), pixels.std(0)]))
        return np.stack(rows)

    train, test = scenes(count=240, image_size=32), scenes("validation", 80, 32)
    hits = {}
    for inside in (True, False):
        distances = features(test, inside)[:, None] - features(train, inside)[None]
        nearest = (distances**2).sum(-1).argmin(1)
        hits[inside] = (train.labels[nearest] == test.labels).mean()
    assert hits[True] > 0.35
    assert hits[False] < 0.25  # chance is 0.125


def test_as_a_source():
    source = generated("validation", count=5, image_size=20)
    assert (source.cardinality, source.name) == (5, "generated:validation")
    images = [image.numpy() for image, _ in source.examples]
    np.testing.assert_array_equal(images, scenes("validation", 5, 20).images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"split": "test"}, "train, validation. Received: split='test'"),
     ({"count": 0}, "Received: count=0, image_size=96"),
     ({"image_size": 15}, "16 x 16.*image_size=15")],
)  # fmt: skip
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes(**arguments)

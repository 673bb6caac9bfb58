"""What a served model answers, as objects."""

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zfkeras.image import Picture, load
from zfkeras.types import Json


@dataclass(frozen=True, eq=False)
class Classification:
    """The best classes of an image, most probable first.

    Attributes:
        classes: (k,) names.
        class_ids: (k,) their numbers.
        probabilities: (k,), or plain scores.
        score_name: what these are: "probability", or "score".
    """

    classes: tuple[str, ...]
    class_ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    score_name: str = "probability"


@dataclass(frozen=True, eq=False)
class Deconvolution:
    """The projection of the strongest unit of a feature map.

    Attributes:
        projection: (H, W, 3) uint8; grey is zero.
        image: (H, W, 3) uint8, what the net saw: the image, resized and cropped.
        layer: the layer's name.
        channel: the feature map.
        value: the unit's activation.
        position: (row, column) of the unit in its map.
        box: (top, left, bottom, right) of its receptive field in the image, half-open.
    """

    projection: Picture
    image: Picture
    layer: str
    channel: int
    value: float
    position: tuple[int, int]
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class OcclusionMap:
    """What the net answers while each place of the image is hidden.

    Attributes:
        class_name, class_id, probability: what it answers when nothing is hidden.
        patch_size: side of the occluder.
        rows, columns: (R,) and (S,) centres of the occluder.
        probabilities: (R, S) of that class.
        predicted: (R, S) the most probable class, as a number.
        predicted_classes: (R, S) its name.
        channel, activation: the feature map most active in the whole image, of the layer that the
            export chose, and the sum over its places.
        activations: (R, S) of that sum.
        heat_map: (H, W, 3) uint8, in colours: bright where hiding a pixel lowers the probability.
        image: (H, W, 3) uint8, what the net saw: the image, resized and cropped.
        score_name: what the probabilities are: "probability", or plain "score".
    """

    class_name: str
    class_id: int
    probability: float
    patch_size: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    predicted_classes: NDArray[np.str_]
    channel: int
    activation: float
    activations: NDArray[np.float64]
    heat_map: Picture
    image: Picture
    score_name: str = "probability"


_OCCLUSION_ARRAYS = "rows columns probabilities predicted predicted_classes activations".split()


def classification(answer: Json) -> Classification:
    """Of `classify`'s outputs for one image."""
    answer, score_name = _scored(answer)
    return Classification(
        classes=tuple(answer["classes"]),
        class_ids=np.asarray(answer["class_ids"]),
        probabilities=np.asarray(answer["probabilities"]),
        score_name=score_name,
    )


def deconvolution(answer: Json, layer: str) -> Deconvolution:
    """Of `deconv`'s outputs for one image."""
    top, left, bottom, right = answer["box"]
    return Deconvolution(
        projection=picture(answer["projection_bytes"]),
        image=picture(answer["input_bytes"]),
        layer=layer,
        channel=answer["channel"],
        value=answer["value"],
        position=(answer["row"], answer["column"]),
        box=(top, left, bottom, right),
    )


def occlusion_map(answer: Json) -> OcclusionMap:
    """Of `occlusion`'s outputs for one image."""
    answer, score_name = _scored(answer)
    return OcclusionMap(
        class_name=answer["class"],
        class_id=answer["class_id"],
        probability=answer["probability"],
        patch_size=answer["patch_size"],
        channel=answer["channel"],
        activation=answer["activation"],
        **{name: np.asarray(answer[name]) for name in _OCCLUSION_ARRAYS},
        heat_map=picture(answer["heat_map_bytes"]),
        image=picture(answer["input_bytes"]),
        score_name=score_name,
    )


def with_pictures(answer: Json) -> tuple[Json, list[Picture]]:
    """Outputs by name, and the pictures among them, what the net saw first."""
    encoded = [name for name in sorted(answer) if name.endswith("_bytes")]
    encoded.sort(key=lambda name: name != "input_bytes")
    rest = {name: value for name, value in answer.items() if name not in encoded}
    return rest, [picture(answer[name]) for name in encoded]


def picture(answer: dict[str, str]) -> Picture:
    """A picture of an answer."""
    return load(base64.b64decode(answer["b64"]))


def _scored(answer: Json) -> tuple[Json, str]:
    """An answer whose scores are called probabilities, and what they are."""
    if "scores" not in answer:
        return answer, "probability"
    names = {"score": "probability", "scores": "probabilities"}
    return {names.get(name, name): value for name, value in answer.items()}, "score"

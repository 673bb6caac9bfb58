"""Requests as data: what is sent, and what is made of the answer. Both clients send them."""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zfkeras.client import results
from zfkeras.client.errors import UnexpectedAnswer
from zfkeras.image import encode, load
from zfkeras.reading import portable
from zfkeras.types import Json, JsonValue

ImageLike = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """A request.

    Attributes:
        method: of HTTP.
        path: after the server's address.
        body: JSON to send; None: nothing.
        read: makes something of the JSON that is answered.
    """

    method: str
    path: str
    read: Callable[[JsonValue], Answer]
    body: Json | None = None

    def answer(self, content: JsonValue, url: str) -> Answer:
        """What is made of an answer.

        Raises:
            UnexpectedAnswer: nothing can be made of it.
        """
        try:
            return self.read(content)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UnexpectedAnswer(
                f"The answer is not what a model of zfkeras answers ({type(error).__name__}: "
                f"{error}): {str(content)[:200]} [from {url}{self.path}]"
            ) from error


def predict(
    path: str, signature: str, rows: Sequence[Mapping[str, object]], read: Callable[[Json], Answer]
) -> Question[list[Answer]]:
    """A question to a signature.

    Args:
        path: of the version.
        signature: its name.
        rows: inputs by name for each image.
        read: makes something of the outputs by name of one.
    """
    instances = [{name: _json(value) for name, value in row.items()} for row in rows]

    def all_rows(content: JsonValue) -> list[Answer]:
        found = content["predictions"]
        if len(found) != len(instances):
            raise ValueError(f"{len(found)} rows for {len(instances)} images")
        return [read(row if isinstance(row, dict) else {"output": row}) for row in found]

    body = {"signature_name": signature, "instances": instances}
    return Question("POST", f"{path}:predict", all_rows, body)


def classify(path: str, images: Sequence[ImageLike]) -> Question[list[results.Classification]]:
    """`classify` of some images."""
    return predict(path, "classify", _rows(images), results.classification)


def deconv(
    path: str, images: Sequence[ImageLike], layer: str, channel: int
) -> Question[list[results.Deconvolution]]:
    """`deconv` of some images."""
    rows = _rows(images, layer=layer, channel=channel)
    return predict(path, "deconv", rows, partial(results.deconvolution, layer=layer))


def occlusion(
    path: str, images: Sequence[ImageLike], patch_size: int | None, fill_value: float
) -> Question[list[results.OcclusionMap]]:
    """`occlusion` of some images."""
    side = -1 if patch_size is None else patch_size
    rows = _rows(images, patch_size=side, fill_value=fill_value)
    return predict(path, "occlusion", rows, results.occlusion_map)


def status(path: str) -> Question[dict[int, str]]:
    """The state of each version."""

    def read(content: JsonValue) -> dict[int, str]:
        return {int(row["version"]): row["state"] for row in content["model_version_status"]}

    return Question("GET", path, read)


def metadata(path: str) -> Question[Json]:
    """The signatures of a version."""
    return Question(
        "GET", f"{path}/metadata", lambda found: found["metadata"]["signature_def"]["signature_def"]
    )


def _rows(images: Sequence[ImageLike], **inputs: object) -> list[Json]:
    return [{"image_bytes": encoded(image), **inputs} for image in images]


def _json(value: object) -> object:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def encoded(image: ImageLike) -> bytes:
    """The bytes to send: a plain JPEG or PNG as it is, anything else as a PNG of what one sees."""
    if isinstance(image, np.ndarray):
        return encode(image)
    if isinstance(image, bytes | Image.Image):
        return portable(image)
    data = Path(image).read_bytes()
    try:
        return portable(data)
    except ValueError:
        load(image)  # says the same, with the file's name
        raise

"""A client of TensorFlow Serving's REST API for models that `zfkeras.export` wrote.

It needs neither TensorFlow nor a particular server: TensorFlow Serving and ``zfkeras serve``
answer it alike.
"""

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zfkeras.image import Picture, encode, load
from zfkeras.reading import portable
from zfkeras.types import Json

ImageLike = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]


class ServerError(ConnectionError):
    """The server could not answer: it is away, or it failed."""


class RequestRefused(ValueError):
    """The server understood the request and refused it; the message is its own."""


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


class Client:
    """Asks a served model to classify and to explain images.

    Args:
        url: where the server listens.
        model: the model's name there.
        version: a version to ask; default: the server's choice, the newest.
        timeout: seconds to wait for an answer; occlusion on a CPU can take tens.

    Example:
        >>> client = Client("http://localhost:8501", model="zfnet")
        >>> client.classify("dog.jpg").classes[0]          # doctest: +SKIP
        'English springer'
    """

    def __init__(
        self,
        url: str = "http://localhost:8501",
        model: str = "zfnet",
        version: int | None = None,
        timeout: float = 300.0,
    ):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The URL must start with http:// or https://. Received: url={url!r}")
        self.url = url.rstrip("/")
        self.model = model
        self._path = f"/v1/models/{quote(model, safe='')}"
        self._version_path = self._path + (f"/versions/{version}" if version is not None else "")
        self._http = httpx.Client(base_url=self.url, timeout=timeout)

    def close(self) -> None:
        """Closes the connection; a `with` block does it too."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def classify(self, image: ImageLike) -> Classification:
        """Classifies an image.

        Args:
            image: a path, encoded bytes, a PIL image, or an array (H, W, 3) uint8; any size.

        Raises:
            ValueError: it is no image.
            RequestRefused: the server refused the request.
            ServerError: the server is away or failed.
        """
        answer, score_name = _scored(self.predict("classify", image_bytes=_encoded(image)))
        return Classification(
            classes=tuple(answer["classes"]),
            class_ids=np.asarray(answer["class_ids"]),
            probabilities=np.asarray(answer["probabilities"]),
            score_name=score_name,
        )

    def deconv(self, image: ImageLike, layer: str, channel: int = -1) -> Deconvolution:
        """Projects the strongest unit of a feature map back to pixels.

        Args:
            image: as in `classify`.
            layer: a layer that the model offers; the server's message names them all.
            channel: a feature map; -1 is the strongest.

        Raises:
            ValueError, RequestRefused, ServerError: as in `classify`.
        """
        answer = self.predict("deconv", image_bytes=_encoded(image), layer=layer, channel=channel)
        top, left, bottom, right = answer["box"]
        return Deconvolution(
            projection=_picture(answer["projection_bytes"]),
            image=_picture(answer["input_bytes"]),
            layer=layer,
            channel=answer["channel"],
            value=answer["value"],
            position=(answer["row"], answer["column"]),
            box=(top, left, bottom, right),
        )

    def occlusion(
        self, image: ImageLike, patch_size: int | None = None, fill_value: float = 128.0
    ) -> OcclusionMap:
        """Hides each place of an image in turn.

        Args:
            image: as in `classify`.
            patch_size: side of the occluder in the net's pixels; default: a fifth of its input.
            fill_value: the occluder's grey, 0..255.

        Raises:
            ValueError, RequestRefused, ServerError: as in `classify`.
        """
        answer = self.predict(
            "occlusion",
            image_bytes=_encoded(image),
            patch_size=-1 if patch_size is None else patch_size,
            fill_value=fill_value,
        )
        answer, score_name = _scored(answer)
        return OcclusionMap(
            class_name=answer["class"],
            class_id=answer["class_id"],
            probability=answer["probability"],
            patch_size=answer["patch_size"],
            channel=answer["channel"],
            activation=answer["activation"],
            **{name: np.asarray(answer[name]) for name in _OCCLUSION_ARRAYS},
            heat_map=_picture(answer["heat_map_bytes"]),
            image=_picture(answer["input_bytes"]),
            score_name=score_name,
        )

    def ask(self, signature: str, image: ImageLike, **inputs: Any) -> tuple[Json, list[Picture]]:
        """Asks any signature about an image.

        Args:
            signature: its name.
            image: as in `classify`.
            **inputs: what else it asks, by name.

        Returns:
            Its answers by name, and the pictures among them (those called …_bytes), what the net
            saw first.

        Raises:
            ValueError, RequestRefused, ServerError: as in `classify`.
        """
        answer = self.predict(signature, image_bytes=_encoded(image), **inputs)
        encoded = [name for name in sorted(answer) if name.endswith("_bytes")]
        encoded.sort(key=lambda name: name != "input_bytes")
        return answer, [_picture(answer.pop(name)) for name in encoded]

    def predict(self, signature: str, **inputs: Any) -> Json:
        """Calls any signature with one instance.

        Args:
            signature: its name.
            **inputs: JSON values by input name; bytes are sent as base64.

        Returns:
            Its outputs by name, for that instance (a single output is named "output").
        """
        instance = {name: _json(value) for name, value in inputs.items()}
        answer = self._ask(
            "POST",
            f"{self._version_path}:predict",
            json={"signature_name": signature, "instances": [instance]},
        )["predictions"][0]
        return answer if isinstance(answer, dict) else {"output": answer}

    def status(self) -> dict[int, str]:
        """State ("AVAILABLE", "LOADING", "END" …) of each version that the server knows."""
        versions = self._ask("GET", self._path)["model_version_status"]
        return {int(version["version"]): version["state"] for version in versions}

    def metadata(self) -> Json:
        """Signatures of the model: inputs and outputs of each by name, as the server has them."""
        answer = self._ask("GET", f"{self._version_path}/metadata")
        return answer["metadata"]["signature_def"]["signature_def"]

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise ServerError(
                f"No answer from the server ({error or type(error).__name__}). It must be "
                f"running: `zfkeras serve` starts one. Received: url={self.url!r}"
            ) from error
        if response.is_success:
            return response.json()
        kind = RequestRefused if response.status_code < 500 else ServerError
        raise kind(f"{_message(response)} [{response.status_code} from {self.url}{path}]")


_OCCLUSION_ARRAYS = "rows columns probabilities predicted predicted_classes activations".split()


def _scored(answer: Json) -> tuple[Json, str]:
    """An answer whose scores are called probabilities, and what they are."""
    if "scores" not in answer:
        return answer, "probability"
    names = {"score": "probability", "scores": "probabilities"}
    return {names.get(name, name): value for name, value in answer.items()}, "score"


def _message(response: httpx.Response) -> str:
    try:
        message = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or "The server gave no reason."
    sentence = str(message).split("\n\t [[", 1)[0]  # without the names of graph nodes
    return re.sub(r"\Aassertion failed: \[(.*)\]\Z", r"\1", sentence, flags=re.DOTALL)


def _json(value: object) -> object:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _picture(answer: dict[str, str]) -> Picture:
    return load(base64.b64decode(answer["b64"]))


def _encoded(image: ImageLike) -> bytes:
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

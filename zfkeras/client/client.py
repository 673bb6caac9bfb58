"""The clients: one that waits, one for ``async``."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from zfkeras.client import questions
from zfkeras.client.errors import checked, wait_before_retry
from zfkeras.client.questions import ImageLike, Question
from zfkeras.client.results import Classification, Deconvolution, OcclusionMap, with_pictures
from zfkeras.image import Picture
from zfkeras.types import Json
from zfkeras.validate import whole_number

Answer = TypeVar("Answer")


class _Served:
    """A model that is served somewhere; `Client` has the arguments."""

    def __init__(
        self,
        url: str = "http://localhost:8501",
        model: str = "zfnet",
        version: int | None = None,
        timeout: float = 300.0,
        retries: int = 2,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The URL must start with http:// or https://. Received: url={url!r}")
        self.url, self.model = url.rstrip("/"), model
        self._retries = whole_number("retries", retries, low=0)
        self._path = f"/v1/models/{quote(model, safe='')}"
        self._version_path = self._path + (f"/versions/{version}" if version is not None else "")
        self._connect(timeout)

    def _connect(self, timeout: float) -> None:
        raise NotImplementedError


class Client(_Served):
    """Asks a served model to classify and to explain images.

    Args:
        url: where the server listens.
        model: the model's name there.
        version: a version to ask; default: the server's choice, the newest.
        timeout: seconds to wait for an answer; occlusion on a CPU can take tens.
        retries: how often a request is sent again where nobody listens, or the server is busy
            (429, 503): after as long as it says, else after 0.25 s, 0.5 s, …

    Example:
        >>> client = Client("http://localhost:8501", model="zfnet")
        >>> client.classify("dog.jpg").classes[0]          # doctest: +SKIP
        'English springer'
    """

    def _connect(self, timeout: float) -> None:
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
            ServerError: the server is away or failed; `ServerTimeout`: it took too long;
                `UnexpectedAnswer`: it is another kind of server.
        """
        return self._ask(questions.classify(self._version_path, [image]))[0]

    def classify_all(
        self, images: Sequence[ImageLike], batch_size: int = 8
    ) -> Iterator[Classification]:
        """Classifies many images, some in each request.

        Args:
            images: each as in `classify`.
            batch_size: images in a request.

        Returns:
            What each is, in their order; asked for when it is wanted.

        Raises:
            ValueError, RequestRefused, ServerError: as in `classify`.
        """
        batches = _batches(images, whole_number("batch_size", batch_size))
        asked = (questions.classify(self._version_path, some) for some in batches)
        return (answer for question in asked for answer in self._ask(question))

    def deconv(self, image: ImageLike, layer: str, channel: int = -1) -> Deconvolution:
        """Projects the strongest unit of a feature map back to pixels.

        Args:
            image: as in `classify`.
            layer: a layer that the model offers; the server's message names them all.
            channel: a feature map; -1 is the strongest.

        Raises:
            ValueError, RequestRefused, ServerError: as in `classify`.
        """
        return self._ask(questions.deconv(self._version_path, [image], layer, channel))[0]

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
        path = self._version_path
        return self._ask(questions.occlusion(path, [image], patch_size, fill_value))[0]

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
        row = {"image_bytes": questions.encoded(image), **inputs}
        return self._ask(questions.predict(self._version_path, signature, [row], with_pictures))[0]

    def predict(self, signature: str, **inputs: Any) -> Json:
        """Calls any signature with one instance.

        Args:
            signature: its name.
            **inputs: JSON values by input name; bytes are sent as base64.

        Returns:
            Its outputs by name, for that instance (a single output is named "output").
        """
        return self._ask(
            questions.predict(self._version_path, signature, [inputs], lambda row: row)
        )[0]

    def status(self) -> dict[int, str]:
        """State ("AVAILABLE", "LOADING", "END" …) of each version that the server knows."""
        return self._ask(questions.status(self._path))

    def metadata(self) -> Json:
        """Signatures of the model: inputs and outputs of each by name, as the server has them."""
        return self._ask(questions.metadata(self._version_path))

    def _ask(self, question: Question[Answer]) -> Answer:
        for tried in range(self._retries + 1):
            result = self._try(question)
            wait = wait_before_retry(result, tried)
            if wait is None or tried == self._retries:
                break
            time.sleep(wait)
        return question.answer(checked(result, self.url), self.url)

    def _try(self, question: Question[Any]) -> httpx.Response | httpx.HTTPError:
        try:
            return self._http.request(question.method, question.path, json=question.body)
        except httpx.HTTPError as error:
            return error


class AsyncClient(_Served):
    """`Client` for ``async``: its methods are awaited, and many may be under way at once.

    Args:
        url, model, version, timeout, retries: as in `Client`.

    Example:
        >>> async def both(photo):                         # doctest: +SKIP
        ...     async with AsyncClient(model="zfnet") as client:
        ...         return await asyncio.gather(
        ...             client.classify(photo), client.deconv(photo, "conv5")
        ...         )
    """

    def _connect(self, timeout: float) -> None:
        self._http = httpx.AsyncClient(base_url=self.url, timeout=timeout)

    async def close(self) -> None:
        """Closes the connections; an `async with` block does it too."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def classify(self, image: ImageLike) -> Classification:
        """As `Client.classify`."""
        return (await self._ask(questions.classify(self._version_path, [image])))[0]

    async def deconv(self, image: ImageLike, layer: str, channel: int = -1) -> Deconvolution:
        """As `Client.deconv`."""
        path = self._version_path
        return (await self._ask(questions.deconv(path, [image], layer, channel)))[0]

    async def occlusion(
        self, image: ImageLike, patch_size: int | None = None, fill_value: float = 128.0
    ) -> OcclusionMap:
        """As `Client.occlusion`."""
        path = self._version_path
        return (await self._ask(questions.occlusion(path, [image], patch_size, fill_value)))[0]

    async def ask(
        self, signature: str, image: ImageLike, **inputs: Any
    ) -> tuple[Json, list[Picture]]:
        """As `Client.ask`."""
        row, path = {"image_bytes": questions.encoded(image), **inputs}, self._version_path
        return (await self._ask(questions.predict(path, signature, [row], with_pictures)))[0]

    async def predict(self, signature: str, **inputs: Any) -> Json:
        """As `Client.predict`."""
        path = self._version_path
        return (await self._ask(questions.predict(path, signature, [inputs], lambda row: row)))[0]

    async def status(self) -> dict[int, str]:
        """As `Client.status`."""
        return await self._ask(questions.status(self._path))

    async def metadata(self) -> Json:
        """As `Client.metadata`."""
        return await self._ask(questions.metadata(self._version_path))

    async def _ask(self, question: Question[Answer]) -> Answer:
        for tried in range(self._retries + 1):
            result = await self._try(question)
            wait = wait_before_retry(result, tried)
            if wait is None or tried == self._retries:
                break
            await asyncio.sleep(wait)
        return question.answer(checked(result, self.url), self.url)

    async def _try(self, question: Question[Any]) -> httpx.Response | httpx.HTTPError:
        try:
            return await self._http.request(question.method, question.path, json=question.body)
        except httpx.HTTPError as error:
            return error


def _batches(images: Sequence[ImageLike], size: int) -> Iterator[Sequence[ImageLike]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]

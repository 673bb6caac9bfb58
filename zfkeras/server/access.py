"""Who may ask: pages of other sites must not, though a browser would let them send.

A page anywhere may post to ``http://localhost:8501`` from the browser of whoever reads it, and
under a host name that it makes point there it may read the answers too.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from zfkeras.server.errors import ServingError

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True)
class Access:
    """Rules of access.

    Attributes:
        host: the address that the server listens on. On a loopback address only requests to
            such a host are answered.
        cors: whether pages of every origin may ask, as with TensorFlow Serving's
            ``--rest_api_enable_cors_support``.
    """

    host: str = "127.0.0.1"
    cors: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What every answer says to browsers."""
        return dict(_CORS) if self.cors else {}

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuses a request by its headers.

        Raises:
            ServingError: a page of another site asks, or under a foreign name.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and _is_loopback(self.host) and not _is_loopback(_name(host)):
            raise ServingError(
                f"The server listens on {self.host}, so requests must be sent to localhost. "
                f"Received: Host: {host[:80]}",
                "PERMISSION_DENIED",
            )
        if not self.cors and origin is not None and origin.partition("://")[2] != host:
            raise ServingError(
                "Pages of other origins may ask only with --rest_api_enable_cors_support. "
                f"Received: Origin: {origin[:80]}",
                "PERMISSION_DENIED",
            )


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

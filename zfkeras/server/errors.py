"""What goes wrong in a request, as TensorFlow Serving reports it: a status and a sentence."""

_HTTP_OF_CODE = {
    # the gRPC code's name: (its number, the HTTP status it becomes)
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
# of requests that no gRPC code describes; their connection is closed
_HTTP_ONLY = {"TIMEOUT": 408, "TOO_LARGE": 413}
_NAME_OF_NUMBER = {number: name for name, (number, _) in _HTTP_OF_CODE.items()}


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        message: the sentence the client reads.
        code: gRPC's name of the kind of failure, or "TIMEOUT" or "TOO_LARGE" of a request.
        retry_after: seconds after which another try makes sense, if it does.
    """

    def __init__(
        self, message: str, code: str = "INVALID_ARGUMENT", retry_after: int | None = None
    ):
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after = retry_after

    @property
    def http_status(self) -> int:
        """The HTTP status of `code`."""
        return _HTTP_ONLY.get(self.code) or _HTTP_OF_CODE[self.code][1]

    @property
    def closes(self) -> bool:
        """Whether what follows on the connection can't be read."""
        return self.code in _HTTP_ONLY


def code_name(number: int) -> str:
    """gRPC's name of an error number, as TensorFlow's errors carry it.

    >>> code_name(3)
    'INVALID_ARGUMENT'
    """
    return _NAME_OF_NUMBER.get(number, "UNKNOWN")

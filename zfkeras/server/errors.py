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
_NAME_OF_NUMBER = {number: name for name, (number, _) in _HTTP_OF_CODE.items()}


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        message: the sentence the client reads.
        code: gRPC's name of the kind of failure.
    """

    def __init__(self, message: str, code: str = "INVALID_ARGUMENT"):
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def http_status(self) -> int:
        """The HTTP status of `code`."""
        return _HTTP_OF_CODE[self.code][1]


def code_name(number: int) -> str:
    """gRPC's name of an error number, as TensorFlow's errors carry it.

    >>> code_name(3)
    'INVALID_ARGUMENT'
    """
    return _NAME_OF_NUMBER.get(number, "UNKNOWN")

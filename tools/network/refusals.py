"""Why a request did not happen, or did not end well."""


class Refused(Exception):
    """Raised where a rule forbids the request, before anything is sent. `reason` is a short code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unreachable(Exception):
    """Raised where there was no answer. `sent`: the request may have reached the other side."""

    def __init__(self, message: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent
        self.timed_out = timed_out


class Unusable(Exception):
    """Raised where an answer came and cannot be read (encoding, media type)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

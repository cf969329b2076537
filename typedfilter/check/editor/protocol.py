"""The Language Server Protocol's envelope: messages of a stream, and answers to requests.

Knows JSON-RPC; knows nothing of what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

Handler = Callable[[Any], Any]

INVALID_REQUEST = -32600
NO_SUCH_METHOD = -32601
INVALID_PARAMETERS = -32602


class RequestError(Exception):
    """A request that can't be answered."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def messages(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The messages of a stream, each behind a header that says its length, until the stream ends."""
    while line := stream.readline():
        length = 0
        while line.strip():
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
            line = stream.readline()
        body = stream.read(length)
        if len(body) < length:
            return
        try:
            message = json.loads(body)
        except ValueError:  # nobody can be told which request it was
            continue
        if isinstance(message, dict):
            yield message


class Channel:
    """What is sent to the editor."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._asked = 0

    def notify(self, method: str, params: Any) -> None:
        """Say something that is not answered."""
        self._send({"method": method, "params": params})

    def ask(self, method: str) -> None:
        """Ask for something, whatever the answer."""
        self._asked += 1
        self._send({"id": f"typedfilter-{self._asked}", "method": method})

    def answer(self, message: Mapping[str, Any], handler: Handler | None) -> None:
        """Act on a message; send the result, if it is a request."""
        is_request = "id" in message
        try:
            if handler is None:
                raise RequestError(NO_SUCH_METHOD, f"there is no method {message['method']}")
            result = handler(message.get("params"))
        except RequestError as error:
            failure = {"code": error.code, "message": str(error)}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            failure = {"code": INVALID_PARAMETERS, "message": f"{message['method']}: {error!r}"}
        else:
            if is_request:
                self._send({"id": message["id"], "result": result})
            return
        if is_request:
            self._send({"id": message["id"], "error": failure})

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._out.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._out.flush()

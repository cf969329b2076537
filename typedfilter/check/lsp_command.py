"""`typedfilter lsp`: what `check` and `shapes` say, for an editor that speaks the Language Server Protocol.

A file is looked at when it is opened and when it is saved, as it is on disk, in processes of their own: what
the file prints, hangs in or leaves behind does not reach the server. Mistakes are published as diagnostics;
shapes answer requests for inlay hints. Exit status: 0 after `shutdown`, 1 where the editor goes without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

_PATIENCE = 30.0  # seconds for one look at a file
_NO_SUCH_METHOD = -32601
_ERROR = 1  # severities of the protocol
_ON_SAVE_ONLY = {"openClose": True, "save": True, "change": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments but `--stdio`, which editors pass."""
    parser.add_argument("--stdio", action="store_true", help="speak over stdin and stdout, as it does anyway")


def run(args: argparse.Namespace) -> int:
    """Serve until the editor says `exit` or closes the pipe."""
    server = Server(sys.stdout.buffer)
    for message in messages(sys.stdin.buffer):
        if message.get("method") == "exit":
            break
        server.take(message)
    return 0 if server.is_shut_down else 1


def messages(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The messages of a stream, each behind a header that says its length, until the stream ends."""
    while True:
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        if not length:
            return
        yield json.loads(stream.read(length))


class Server:
    """What is known of the files that are open in the editor."""

    def __init__(self, out: BinaryIO) -> None:
        self.is_shut_down: bool = False
        self._out = out
        self._hints: dict[str, list[dict[str, Any]]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        """Act on one message: answer a request, do what a notification asks for."""
        answers: dict[str, Callable[[Any], Any]] = {
            "initialize": self._initialize,
            "shutdown": self._shutdown,
            "textDocument/inlayHint": self._inlay_hints,
            "textDocument/didOpen": self._look,
            "textDocument/didSave": self._look,
            "textDocument/didClose": self._close,
        }
        answer = answers.get(message.get("method", ""))
        result = answer(message.get("params")) if answer is not None else None
        if "id" not in message or "method" not in message:
            return
        if answer is None:
            error = {"code": _NO_SUCH_METHOD, "message": f"there is no method {message['method']}"}
            self._send({"id": message["id"], "error": error})
        else:
            self._send({"id": message["id"], "result": result})

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._out.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._out.flush()

    def _initialize(self, params: Any) -> dict[str, Any]:
        offered = {"textDocumentSync": _ON_SAVE_ONLY, "inlayHintProvider": True}
        return {"capabilities": offered, "serverInfo": {"name": "typedfilter"}}

    def _shutdown(self, params: Any) -> None:
        self.is_shut_down = True

    def _inlay_hints(self, params: Any) -> list[dict[str, Any]]:
        first, last = (params["range"][end]["line"] for end in ("start", "end"))
        hints = self._hints.get(params["textDocument"]["uri"], [])
        return [hint for hint in hints if first <= hint["position"]["line"] <= last]

    def _look(self, params: Any) -> None:
        uri = params["textDocument"]["uri"]
        path = _path_of(uri)
        if path is None or not path.is_file():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found = _answer_of("shapes", path)
        self._hints[uri] = list(_hints(found, lines))
        if not found["errors"]:
            found = _answer_of("check", path)
        self._publish(uri, list(_diagnostics(found, path, lines)))

    def _close(self, params: Any) -> None:
        uri = params["textDocument"]["uri"]
        self._hints.pop(uri, None)
        self._publish(uri, [])

    def _publish(self, uri: str, diagnostics: list[dict[str, Any]]) -> None:
        params = {"uri": uri, "diagnostics": diagnostics}
        self._send({"method": "textDocument/publishDiagnostics", "params": params})


def _path_of(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(unquote(parts.path))) if parts.scheme == "file" else None


def _answer_of(command: str, path: Path) -> dict[str, Any]:
    """What a command says of a file in JSON; that it says nothing, where it says so."""
    words = [sys.executable, "-m", "typedfilter", command, "--format", "json", str(path)]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"errors": [{"message": f"it takes more than {_PATIENCE:g} seconds"}]}
    except ValueError:
        return {"errors": [{"message": "the check ended without an answer"}]}
    return found


def _diagnostics(found: Mapping[str, Any], path: Path, lines: list[str]) -> Iterator[dict[str, Any]]:
    for problem in found["errors"]:
        yield _diagnostic(1, lines, problem["message"])
    for result in found.get("results", ()):
        if result["status"] != "failed":
            continue
        facts = [(name, result[name]) for name in ("expected", "found") if result[name]]
        text = "\n".join([result["message"], *(f"{name}: {fact}" for name, fact in facts)])
        span, frame = result.get("annotation"), result.get("frame")
        if span is not None:
            yield _diagnostic(span["line"], lines, text, span["column"] - 1, span["end_column"] - 1)
        else:
            here: Any = frame if frame and Path(frame["file"]).resolve() == path.resolve() else result
            yield _diagnostic(here["line"], lines, text)


def _diagnostic(
    line: int, lines: list[str], message: str, column: int | None = None, end: int | None = None
) -> dict[str, Any]:
    """A diagnostic of a piece of a line, or of what is written on the whole line."""
    text = lines[line - 1] if line <= len(lines) else ""
    column = len(text) - len(text.lstrip()) if column is None else column
    places = [
        {"line": line - 1, "character": _units(text[:at])}
        for at in (column, len(text) if end is None else end)
    ]
    ends = {"start": places[0], "end": places[1]}
    return {"range": ends, "severity": _ERROR, "source": "typedfilter", "message": message}


def _hints(found: Mapping[str, Any], lines: list[str]) -> Iterator[dict[str, Any]]:
    """A hint behind each line on which something is known."""
    for function in found.get("functions", ()):
        for one in function["lines"]:
            label = ", ".join(f"{name}: {' or '.join(texts)}" for name, texts in one["shapes"].items())
            text = lines[one["line"] - 1] if one["line"] <= len(lines) else ""
            position = {"line": one["line"] - 1, "character": _units(text)}
            yield {"position": position, "label": label, "paddingLeft": True}


def _units(text: str) -> int:
    """Its length as the protocol counts: in units of UTF-16."""
    return len(text.encode("utf-16-le")) // 2

"""Asks language servers what an editor asks them, in JSON-RPC over their standard streams."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

SERVERS = {
    "pyright": [sys.executable, "-m", "pyright.langserver", "--stdio"],
    "ty": [sys.executable, "-m", "ty", "server"],
}


class LanguageServer:
    """A running server of a folder. To be used in a `with` statement."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            SERVERS[name], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=folder, env=environment
        )
        self._root = folder.as_uri()
        self._last = 0

    def __enter__(self) -> Self:
        self.request(
            "initialize",
            processId=None,
            rootUri=self._root,
            capabilities={"workspace": {"configuration": True}},
            workspaceFolders=[{"uri": self._root, "name": "folder"}],
        )
        self._send(method="initialized", params={})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self, path: Path) -> None:
        """Tell the server that a file is open in the editor."""
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": path.read_text()}
        self._send(method="textDocument/didOpen", params={"textDocument": document})

    def hover(self, path: Path, text: str) -> str:
        """What is shown over the first character of this text, where it first stands in the file."""
        contents = self._at("textDocument/hover", path, path.read_text().index(text))["contents"]
        return str(contents["value"] if isinstance(contents, dict) else contents)

    def signature(self, path: Path, text: str) -> str:
        """What is shown while arguments are typed behind the bracket in this text."""
        offset = path.read_text().index(text) + text.index("(") + 1
        found = self._at("textDocument/signatureHelp", path, offset)
        return str(found["signatures"][found.get("activeSignature") or 0]["label"])

    def _at(self, method: str, path: Path, offset: int) -> Any:
        before = path.read_text()[:offset]
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return self.request(method, textDocument={"uri": path.as_uri()}, position=position)

    def request(self, method: str, **params: Any) -> Any:
        """The answer to a request. What the server asks for meanwhile is answered with the Python at hand."""
        self._last += 1
        self._send(id=self._last, method=method, params=params)
        while True:
            message = self._receive()
            if message.get("id") == self._last and "method" not in message:
                assert "error" not in message, message
                return message["result"]
            if "id" in message:
                asked = message["params"]["items"] if message["method"] == "workspace/configuration" else []
                self._send(id=message["id"], result=[{"pythonPath": sys.executable} for _ in asked] or None)

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        length = 0
        while (line := stream.readline().strip()) or not length:
            assert line or self._process.poll() is None, "the language server has ended"
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(stream.read(length))
        return message

"""The server of an editor: what is asked of the files that are open, and what is said of them.

Knows the protocol; when a file is looked at, and by whom, is `looking`'s.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from typedfilter.check.editor import protocol
from typedfilter.check.editor.document import Text
from typedfilter.check.editor.edits import action, changes_for
from typedfilter.check.editor.findings import Findings
from typedfilter.check.editor.looking import Desk, File, Files

_ERROR = 1
_KINDS = (".py",)


class Server:
    """What is known of the files that are open."""

    def __init__(self, channel: protocol.Channel) -> None:
        self.is_shut_down: bool = False
        self._channel = channel
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._files = Files(self, self._inbox)
        self._said: set[str] = set()
        self._refreshes = False
        self._handlers: Mapping[str, protocol.Handler] = {
            "initialize": self._initialize,
            "shutdown": self._shutdown,
            "textDocument/didOpen": self._open,
            "textDocument/didChange": self._change,
            "textDocument/didSave": self._save,
            "textDocument/didClose": self._close,
            "textDocument/inlayHint": self._inlay_hints,
            "textDocument/hover": self._hover,
            "textDocument/codeAction": self._code_actions,
        }

    def serve(self, stream: BinaryIO) -> None:
        """Take messages until the editor says `exit`, or goes."""
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()
        try:
            while True:
                try:
                    sender, message = self._inbox.get(timeout=self._files.until())
                except queue.Empty:
                    pass
                else:
                    if isinstance(sender, Desk):
                        self._files.hear(sender, message)
                    elif message is None or message.get("method") == "exit":
                        return
                    else:
                        self._take(message)
                self._files.look_around()
        finally:
            for file in self._files.open.values():
                self._files.dismiss(file)

    def _listen(self, stream: BinaryIO) -> None:
        for message in protocol.messages(stream):
            self._inbox.put((None, message))
            if message.get("method") == "exit":
                return  # a thread that waits for input is in the way of the end
        self._inbox.put((None, None))

    def _take(self, message: Mapping[str, Any]) -> None:
        method = message.get("method")
        if not isinstance(method, str):
            return  # the editor's answer to what it was asked
        if "id" not in message and (method not in self._handlers or self.is_shut_down):
            return
        handler = self._refused if self.is_shut_down else self._handlers.get(method)
        self._channel.answer(message, handler)

    def _refused(self, params: Any) -> None:
        raise protocol.RequestError(protocol.INVALID_REQUEST, "the server is shut down")

    # ------------------------------------------------------------------------------------- what is asked

    def _initialize(self, params: Any) -> dict[str, Any]:
        workspace = (params.get("capabilities") or {}).get("workspace") or {}
        self._refreshes = bool((workspace.get("inlayHint") or {}).get("refreshSupport"))
        offered = {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": True, "change": 1, "save": True},
            "inlayHintProvider": True,
            "hoverProvider": True,
            "codeActionProvider": {"codeActionKinds": ["quickfix"]},
        }
        return {"capabilities": offered, "serverInfo": {"name": "typedfilter"}}

    def _shutdown(self, params: Any) -> None:
        self.is_shut_down = True
        for file in self._files.open.values():
            self._files.dismiss(file)
            file.due = None

    def _open(self, params: Any) -> None:
        document = params["textDocument"]
        path = _path_of(document["uri"])
        if path is None or path.suffix not in _KINDS:
            return
        text = Text(document["text"])
        findings = Findings(str(path), text)
        everything = range(len(text.lines))
        self._files.open[document["uri"]] = File(
            document["uri"], path, document.get("version"), findings, everything
        )

    def _change(self, params: Any) -> None:
        file = self._files.open.get(params["textDocument"]["uri"])
        if file is None:
            return
        file.version = params["textDocument"].get("version")
        file.edit(Text(params["contentChanges"][-1]["text"]))

    def _save(self, params: Any) -> None:
        """Look at all again: what is saved may be imported by what is open."""
        for file in self._files.open.values():
            file.due = 0.0

    def _close(self, params: Any) -> None:
        file = self._files.open.pop(params["textDocument"]["uri"], None)
        if file is not None:
            self._files.dismiss(file)
            self._channel.notify("textDocument/publishDiagnostics", {"uri": file.uri, "diagnostics": []})

    def _inlay_hints(self, params: Any) -> list[dict[str, Any]]:
        file = self._files.open.get(params["textDocument"]["uri"])
        first, last = (params["range"][end]["line"] + 1 for end in ("start", "end"))
        return [] if file is None else file.findings.hints(first, last)

    def _hover(self, params: Any) -> dict[str, Any] | None:
        file, position = self._files.open.get(params["textDocument"]["uri"]), params["position"]
        return None if file is None else file.findings.hover(position["line"] + 1, position["character"])

    def _code_actions(self, params: Any) -> list[dict[str, Any]]:
        file = self._files.open.get(params["textDocument"]["uri"])
        only = (params.get("context") or {}).get("only")
        wanted = not only or any("quickfix".startswith(one) for one in only)
        if file is None or not wanted:
            return []
        first, last = (params["range"][end]["line"] + 1 for end in ("start", "end"))
        return [
            action(change, file.uri, mended)
            for listing, mended in file.findings.on_lines(first, last)
            for change in changes_for(listing.result, file.findings.text)
        ]

    # ------------------------------------------------------------------------------------- what is said

    def publish(self, file: File) -> None:
        """Show what is known of a file."""
        params: dict[str, Any] = {"uri": file.uri, "diagnostics": file.findings.diagnostics()}
        if file.version is not None:
            params["version"] = file.version
        self._channel.notify("textDocument/publishDiagnostics", params)

    def refresh(self) -> None:
        """Let the editor ask for hints again."""
        if self._refreshes:
            self._channel.ask("workspace/inlayHint/refresh")

    def tell(self, problem: str) -> None:
        """Show a message, once."""
        if problem not in self._said:
            self._said.add(problem)
            self._channel.notify("window/showMessage", {"type": _ERROR, "message": f"typedfilter: {problem}"})


def _path_of(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    return Path(url2pathname(unquote(parts.path))).resolve()

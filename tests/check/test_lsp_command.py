"""`typedfilter lsp`: a real server over stdio, and a small client of the protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from typedfilter.check.lsp_command import messages

SOURCE = """
    from jaxtyping import Array, Float
    print("not for the editor")

    def good(x: Float[Array, "n m"]) -> Float[Array, "m n"]:
        y = x.T  # \U0001d54a
        return y

    def bad(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
        return x.T
"""
BAD = {
    "range": {"start": {"line": 7, "character": 35}, "end": {"line": 7, "character": 54}},
    "severity": 1,
    "source": "typedfilter",
    "message": "the return value is not what is annotated: axis 0 is m, not n\n"
    "expected: Float[Array, 'n m']\nfound: f32[m,n]",
}


@pytest.fixture
def send():
    """Sends messages to a server and returns what it answers to each that has an answer; ends it."""
    words = [sys.executable, "-m", "typedfilter", "lsp", "--stdio"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        answers = messages(process.stdout)

        def send(method: str, params: object = None, number: int | None = None, answered: bool = True):
            message = {"jsonrpc": "2.0", "method": method, "params": params}
            body = json.dumps(message if number is None else {**message, "id": number}).encode()
            process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            process.stdin.flush()
            return next(answers) if answered else None

        yield send
        send("exit", answered=False)
        assert process.wait(60) == 0


def test_an_opened_file_has_diagnostics_and_inlay_hints_until_it_is_closed(send, tmp_path):
    path = tmp_path / "a model.py"
    path.write_text(textwrap.dedent(SOURCE).lstrip(), encoding="utf-8")
    document = {"uri": path.as_uri()}
    started = send("initialize", {}, 1)["result"]["capabilities"]
    assert started == {
        "textDocumentSync": {"openClose": True, "save": True, "change": 0},
        "inlayHintProvider": True,
    }
    send("initialized", {}, answered=False)
    assert send("textDocument/didOpen", {"textDocument": document}) == {
        "jsonrpc": "2.0",
        "method": "textDocument/publishDiagnostics",
        "params": {"uri": path.as_uri(), "diagnostics": [BAD]},
    }
    asked = {"start": {"line": 4, "character": 0}, "end": {"line": 5, "character": 0}}
    assert send("textDocument/inlayHint", {"textDocument": document, "range": asked}, 2)["result"] == [
        {"position": {"line": 4, "character": 17}, "label": "y: f32[m,n]", "paddingLeft": True},
        {"position": {"line": 5, "character": 12}, "label": "return: f32[m,n]", "paddingLeft": True},
    ]
    path.write_text("import nope\n\ndef f(x: int) -> int: ...\n")
    saved = send("textDocument/didSave", {"textDocument": document})["params"]["diagnostics"]
    assert [(one["range"]["end"], one["message"]) for one in saved] == [
        (
            {"line": 0, "character": 11},
            "can't be imported: ModuleNotFoundError: No module named 'nope'",
        )
    ]
    assert send("textDocument/didClose", {"textDocument": document})["params"]["diagnostics"] == []
    assert send("textDocument/hover", {}, 3)["error"] == {
        "code": -32601,
        "message": "there is no method textDocument/hover",
    }
    assert send("shutdown", None, 4)["result"] is None

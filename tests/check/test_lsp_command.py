"""`typedfilter lsp`: a real server over stdio, and the client of another implementation of the protocol."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from typedfilter.check.editor import looking
from typedfilter.check.editor.document import Text
from typedfilter.check.editor.findings import Findings

HEAD = "from jaxtyping import Array, Float\n\n"
GOOD = 'def good(x: Float[Array, "n m"]) -> Float[Array, "m n"]:\n    y = x.T\n    return y\n'
BAD = 'def bad(x: Float[Array, "n m"], s: str = "\U0001d54a") -> Float[Array, "n m"]:\n    return x.T\n'
ENDLESS = "all(True for _ in iter(int, 1))\n"
WAIT = 240.0  # seconds, on a machine that has much to do


class Editor:
    """Somebody who types: what a file is said to be, in the order in which it was said."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = LanguageClient("editor", "1")
        self._said = threading.Condition()
        self._published: list[types.PublishDiagnosticsParams] = []
        self.messages: list[str] = []
        self.refreshed = 0
        self.versions: dict[str, int] = {}
        for method, take in (
            (types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, self._take),
            (types.WINDOW_SHOW_MESSAGE, lambda params: self.messages.append(params.message)),
            (types.WORKSPACE_INLAY_HINT_REFRESH, self._refresh),
        ):
            self._client.feature(method)(functools.partial(take))
        words = ["-m", "typedfilter", "lsp", "--stdio"]
        self._run(self._client.start_io(sys.executable, *words, cwd=folder, start_new_session=True))
        self.process: Any = self._client._server
        hints = types.InlayHintWorkspaceClientCapabilities(refresh_support=True)
        workspace = types.WorkspaceClientCapabilities(inlay_hint=hints)
        capabilities = types.ClientCapabilities(workspace=workspace)
        asked = types.InitializeParams(capabilities=capabilities, process_id=os.getpid())
        self.offered = self._run(self._client.initialize_async(asked)).capabilities
        self._client.initialized(types.InitializedParams())

    def _run(self, wanted: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(wanted, self._loop).result(WAIT)

    def _take(self, params: types.PublishDiagnosticsParams) -> None:
        with self._said:
            self._published.append(params)
            self._said.notify_all()

    def _refresh(self, params: None) -> None:
        self.refreshed += 1

    def open(self, path: Path, text: str | None = None) -> None:
        text = path.read_text(encoding="utf-8") if text is None else text
        self.versions[path.as_uri()] = 1
        document = types.TextDocumentItem(path.as_uri(), "python", 1, text)
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def change(self, path: Path, text: str) -> int:
        """Type; the version that it makes."""
        version = self.versions[path.as_uri()] = self.versions[path.as_uri()] + 1
        document = types.VersionedTextDocumentIdentifier(version, path.as_uri())
        changes = [types.TextDocumentContentChangeWholeDocument(text)]
        self._client.text_document_did_change(types.DidChangeTextDocumentParams(document, changes))
        return version

    def save(self, path: Path) -> None:
        self._client.text_document_did_save(types.DidSaveTextDocumentParams(self._document(path)))

    def close(self, path: Path) -> None:
        self._client.text_document_did_close(types.DidCloseTextDocumentParams(self._document(path)))

    def _document(self, path: Path) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(path.as_uri())

    def told(self, path: Path, wanted: Callable[[list[str]], bool]) -> list[types.Diagnostic]:
        """What is said of a file's text as it is now, once its first lines are as they are wanted."""
        end = time.monotonic() + WAIT
        with self._said:
            while True:
                for one in reversed(self._published):
                    current = one.version in (self.versions.get(path.as_uri()), None)
                    if one.uri == path.as_uri() and current and wanted(first_lines(one.diagnostics)):
                        return list(one.diagnostics)
                assert self._said.wait(end - time.monotonic()), [
                    (p.version, first_lines(p.diagnostics)) for p in self._published[-3:]
                ]

    def all_told(self) -> list[int]:
        return [one.version for one in self._published if one.version is not None]

    def hints(self, path: Path, lines: int = 100) -> list[str]:
        where = types.Range(types.Position(0, 0), types.Position(lines, 0))
        asked = types.InlayHintParams(self._document(path), where)
        found = self._run(self._client.text_document_inlay_hint_async(asked))
        return [f"{one.position.line}:{one.position.character} {one.label}" for one in found]

    def hover(self, path: Path, line: int, character: int) -> str | None:
        asked = types.HoverParams(self._document(path), types.Position(line, character))
        found = self._run(self._client.text_document_hover_async(asked))
        return None if found is None else found.contents.value

    def actions(self, path: Path, at: types.Diagnostic) -> list[types.CodeAction]:
        context = types.CodeActionContext([at])
        asked = types.CodeActionParams(self._document(path), at.range, context)
        return self._run(self._client.text_document_code_action_async(asked))

    def leave(self) -> None:
        """Shut the server down, as an editor does."""
        self._run(self._client.shutdown_async(None))
        self._client.exit(None)
        self.stop()

    def stop(self) -> None:
        self._run(self._client.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


def first_lines(diagnostics: Any) -> list[str]:
    return [one.message.splitlines()[0] for one in diagnostics]


def applied(text: str, action: types.CodeAction, path: Path) -> str:
    """The text, edited as an action says it; lines and columns of ASCII."""
    lines = text.splitlines(keepends=True)
    assert action.edit is not None
    assert action.edit.changes is not None
    edits = action.edit.changes[path.as_uri()]
    for edit in sorted(
        edits, key=lambda one: (one.range.start.line, one.range.start.character), reverse=True
    ):
        start, end = edit.range.start, edit.range.end
        assert start.line == end.line
        line = lines[start.line]
        lines[start.line] = line[: start.character] + edit.new_text + line[end.character :]
    return "".join(lines)


def nothing(found: list[str]) -> bool:
    return found == []


def something(found: list[str]) -> bool:
    return found != []


def gone(group: int) -> bool:
    """Whether no process of a group is left, or is so soon."""
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    one = Editor(tmp_path_factory.mktemp("workspace"))
    yield one
    group = one.process.pid
    one.leave()
    assert one.process.returncode == 0
    assert gone(group)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------ what is shown


def test_the_server_offers_what_it_can_do(editor):
    offered = editor.offered
    assert offered.position_encoding == types.PositionEncodingKind.Utf16
    assert offered.text_document_sync == types.TextDocumentSyncOptions(
        open_close=True, change=types.TextDocumentSyncKind.Full, save=True
    )
    assert offered.inlay_hint_provider is offered.hover_provider is True
    # A list of texts or a tuple of members: whichever the client's library makes of it.
    assert [*offered.code_action_provider.code_action_kinds] == ["quickfix"]


def test_an_opened_file_has_diagnostics_hints_and_hovers_in_units_of_utf_16_until_it_is_closed(
    editor, tmp_path
):
    path = write(tmp_path, "a model.py", HEAD + 'print("not for the editor")\n' + GOOD + BAD)
    editor.open(path)
    (found,) = editor.told(path, something)
    assert (found.source, found.code, found.severity) == ("typedfilter", "failed", 1)
    assert found.range == types.Range(types.Position(6, 50), types.Position(6, 69))
    assert found.message == (
        "the return value is not what is annotated: axis 0 is m, not n\n"
        "expected: Float[Array, 'n m']\n"
        "found: f32[m,n]\n"
        "where: n is axis 0 of `x`, m is axis 1 of `x`\n"
        "with: s='\U0001d54a'\n"
        "for example at: n=3, m=5"
    )
    assert editor.hints(path) == [
        "3:56 x: f32[n,m]",
        "4:11 y: f32[m,n]",
        "5:12 return: f32[m,n]",
        "6:70 x: f32[n,m]",
        "7:14 return: f32[m,n]",
    ]
    assert editor.hints(path, 3) == ["3:56 x: f32[n,m]"]
    assert editor.hover(path, 5, 12) == "```python\ny: f32[m,n]\n```"
    assert editor.hover(path, 3, 5) == "`good`: proved\n\nproved: for all sizes"
    assert editor.hover(path, 5, 2) is None
    editor.close(path)
    editor.told(path, nothing)
    assert editor.hints(path) == []
    assert editor.hover(path, 5, 12) is None
    editor.open(path)
    editor.told(path, something)
    while editor.refreshed < 2:
        time.sleep(0.02)


def test_what_is_typed_is_judged_and_what_is_on_the_disk_is_not(editor, tmp_path):
    helper = write(tmp_path, "helper_of_typed.py", "def turned(x):\n    return x\n")
    user = 'from helper_of_typed import turned\n\ndef f(x: Float[Array, "n m"]) -> Float[Array, "m n"]:\n'
    path = write(tmp_path, "typed.py", "1 / 0\n")
    editor.open(path, HEAD + user + "    return turned(x)\n")
    editor.told(path, something)
    editor.open(helper)
    editor.change(helper, "def turned(x):\n    return x.T\n")
    editor.save(helper)
    editor.told(path, nothing)
    editor.change(path, HEAD + user + "    y = turned(x)\n    return y.T\n")
    assert first_lines(editor.told(path, something)) == [
        "the return value is not what is annotated: axis 0 is n, not m"
    ]
    editor.close(helper)  # without saving: the disk counts
    editor.change(path, HEAD + user + "    z = turned(x)\n    return z.T\n")
    editor.told(path, nothing)
    for one in (path, helper):
        assert not list(one.parent.glob("__pycache__/typed*"))


def test_a_file_that_does_not_parse_says_where_and_keeps_what_was_known_of_the_rest(editor, tmp_path):
    path = write(tmp_path, "parsed.py", HEAD + GOOD + BAD)
    editor.open(path)
    editor.told(path, something)
    editor.change(path, HEAD + "z = (\n\n" + GOOD + BAD)
    broken, kept = editor.told(path, lambda found: len(found) == 2)
    assert broken.message == "can't be imported: SyntaxError: '(' was never closed (parsed.py, line 3)"
    assert (broken.code, broken.range.start.line) == ("not-imported", 2)
    assert kept.range.start == types.Position(7, 50)
    assert "5:11 y: f32[m,n]" in editor.hints(path)
    assert "7:70 x: f32[n,m]" in editor.hints(path)
    editor.change(path, HEAD + "z = ()\n\n" + GOOD)
    editor.told(path, nothing)


def test_an_import_that_fails_is_told_at_its_line_until_there_is_such_a_module(editor, tmp_path):
    text = HEAD + "import no_such_thing_yet\n\n" + GOOD
    path = write(tmp_path, "importing.py", text)
    editor.open(path)
    (found,) = editor.told(path, something)
    assert found.message == "can't be imported: ModuleNotFoundError: No module named 'no_such_thing_yet'"
    assert found.range == types.Range(types.Position(2, 0), types.Position(2, 24))
    write(tmp_path, "no_such_thing_yet.py", "")
    editor.save(path)
    editor.told(path, nothing)


def test_two_files_with_helpers_of_one_name_are_two(editor, tmp_path):
    text = HEAD + 'from shared_name import turn\n\ndef f(x: Float[Array, "n m"]) -> Float[Array, "m n"]:\n'
    one = write(tmp_path, "one/first.py", text + "    return turn(x)\n")
    other = write(tmp_path, "two/second.py", text + "    return turn(x)\n")
    write(tmp_path, "one/shared_name.py", "def turn(x):\n    return x.T\n")
    write(tmp_path, "two/shared_name.py", "def turn(x):\n    return x\n")
    editor.open(one)
    editor.open(other)
    editor.told(other, something)
    editor.told(one, nothing)


def test_only_what_is_edited_is_executed_again_with_what_imports_it(editor, tmp_path):
    log = tmp_path / "log"
    note = f"open({str(log)!r}, 'a').write(__name__ + ' ')\n"
    write(tmp_path, "kept/__init__.py", note + "from kept.user import good\n")
    write(tmp_path, "kept/base.py", note)
    path = write(tmp_path, "kept/user.py", note + "from kept import base\n" + HEAD + GOOD + BAD)
    editor.open(path)
    editor.told(path, something)
    before = log.read_text()
    editor.change(path, note + "from kept import base\n" + HEAD + GOOD)
    editor.told(path, nothing)
    assert log.read_text().removeprefix(before).split() == ["kept", "kept.user"]
    assert before.split().count("kept.base") == 1


# ------------------------------------------------------------------------------- what does not behave well


def test_a_file_that_imports_slowly_and_is_edited_meanwhile_is_judged_as_it_is_in_the_end(editor, tmp_path):
    write(tmp_path, "slow_of_editor.py", "import time\ntime.sleep(2.5)\n")
    path = write(tmp_path, "slow.py", "import slow_of_editor\n" + HEAD + BAD)
    editor.open(path)
    for _ in range(5):
        time.sleep(0.3)
        editor.change(path, path.read_text(encoding="utf-8") + "# more\n")
    last = editor.change(path, "import slow_of_editor\n" + HEAD + GOOD + BAD)
    editor.told(path, something)
    assert max(editor.all_told()) >= last
    assert "4:11 y: f32[m,n]" in editor.hints(path)


@pytest.mark.parametrize("hangs", [ENDLESS, "import time\ntime.sleep(10_000)\n"])
def test_a_file_that_hangs_is_let_go_when_it_is_edited(editor, tmp_path, hangs):
    path = write(tmp_path, "hanging.py", hangs + HEAD + BAD)
    editor.open(path)
    time.sleep(1.0)
    editor.change(path, HEAD + BAD)
    editor.told(path, something)


def test_a_function_that_is_edited_while_it_is_judged_is_told_of_as_it_is_in_the_end(editor, tmp_path):
    slow = "import time\n" + HEAD + BAD.replace("    return", "    time.sleep(0.4)\n    return")
    path = write(tmp_path, "edited.py", slow)
    editor.open(path)
    for turn in range(4):
        time.sleep(0.5)
        editor.change(path, slow.replace("0.4", f"0.4{turn}"))
    editor.change(path, slow.replace("x.T", "x"))
    editor.told(path, nothing)


def test_what_ends_its_process_is_told_and_the_rest_of_the_file_is_judged(editor, tmp_path):
    ends = "import os\n" + HEAD + GOOD.replace("y = x.T", "os._exit(3)") + BAD
    path = write(tmp_path, "ending.py", ends)
    editor.open(path)
    editor.told(path, something)
    assert editor.hover(path, 3, 5) == "`good`: skipped\n\nskipped: tracing it ends the process with status 3"
    editor.change(path, "import os\nos._exit(0)\n" + HEAD + GOOD)
    told = editor.told(path, lambda found: found == ["can't be imported: it ends the process with status 0"])
    assert len(told) == 1
    editor.change(path, HEAD + GOOD)
    editor.told(path, nothing)


class Listener:
    """Is told of a file, in the place of a server."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def publish(self, file: looking.File) -> None:
        self.told += [one["message"] for one in file.findings.diagnostics()]

    def refresh(self) -> None:
        """Nothing is shown that would be asked for again."""

    def tell(self, problem: str) -> None:
        self.told.append(problem)


def test_a_file_that_is_never_imported_is_told_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "_PATIENCE", 1.0)
    path = write(tmp_path, "endless.py", ENDLESS + GOOD)
    listener, inbox = Listener(), looking.queue.SimpleQueue()
    files = looking.Files(listener, inbox)
    findings = Findings(str(path), Text(path.read_text()))
    file = files.open["it"] = looking.File("it", path, 1, findings, range(5))
    while not listener.told:
        try:
            files.hear(*inbox.get(timeout=files.until()))
        except looking.queue.Empty:
            pass
        files.look_around()
    assert listener.told == ["can't be imported: it takes more than 1 seconds"]
    assert file.desk is None


def test_what_can_be_executed_once_only_is_executed_in_a_new_process(editor, tmp_path):
    once = """
        import sys
        if "executed" in vars(sys):
            raise RuntimeError("executed twice")
        sys.executed = True
    """
    write(tmp_path, "once.py", once)
    text = textwrap.dedent(once) + HEAD + BAD
    path = write(tmp_path, "twice.py", text)
    editor.open(path)
    editor.told(path, something)
    editor.change(path, text + GOOD)
    found = editor.told(path, something)
    assert first_lines(found) == ["the return value is not what is annotated: axis 0 is m, not n"]
    while not any("y: f32[m,n]" in hint for hint in editor.hints(path)):
        time.sleep(0.05)  # what was edited is told first


# -------------------------------------------------------------------------------------------- the settings


def test_the_settings_of_the_nearest_project_are_kept_to(editor, tmp_path):
    settings = write(
        tmp_path,
        "pyproject.toml",
        '[tool.typedfilter]\nmesh = {data = 4}\nexamples = "made"\nignore = ["bad"]\n',
    )
    write(
        tmp_path,
        "made.py",
        """
        import jax.numpy as jnp
        from foreign import Operator
        from typedfilter.check import example_of

        @example_of(Operator)
        def _(n):
            return Operator(jnp.ones((n, n)))
        """,
    )
    write(
        tmp_path,
        "foreign.py",
        "class Operator:\n    def __init__(self, made_of):\n        self.m = made_of\n",
    )
    path = write(
        tmp_path,
        "settled.py",
        HEAD
        + BAD
        + textwrap.dedent("""
        from jax.sharding import PartitionSpec as P
        from typedfilter import filter_shard_map
        from foreign import Operator

        @filter_shard_map(in_specs=P("data"), out_specs=P("data"))
        def meshed(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x[1:]

        def operates(a: Operator, x: Float[Array, "n"]) -> Float[Array, "k"]:
            return a.m @ x[1:]
        """),
    )
    editor.open(path)
    assert first_lines(editor.told(path, lambda found: len(found) > 1)) == [
        "the return value is not what is annotated: axis 0 is n - 1, not n",
        (
            "TypeError: dot_general requires contracting dimensions to have the same shape, "
            "got (n,) and (n - 1,)."
        ),
    ]
    settings.write_text("[tool.typedfilter]\nstrict = true\n")
    editor.save(path)
    found = editor.told(path, lambda found: any("may be anything" in line for line in found))
    assert {one.severity for one in found} == {
        types.DiagnosticSeverity.Error,
        types.DiagnosticSeverity.Warning,
    }
    settings.write_text("[tool.typedfilter]\nstricter = true\n")
    editor.save(path)
    editor.change(path, HEAD)
    while not editor.messages:
        time.sleep(0.05)
    (message,) = editor.messages
    assert "has no setting `stricter`" in message
    settings.write_text('[tool.typedfilter]\nexclude = ["settled.py"]\n')
    editor.change(path, HEAD + BAD)
    other = write(tmp_path, "judged.py", HEAD + BAD)
    editor.open(other)
    editor.told(other, something)
    assert editor.hints(path) == []


# ------------------------------------------------------------------------------------------------- actions


MENDED = {
    "Rename dimension `b` to `batch`": """
        def f(x: Float[Array, "batch n"], y: Float[Array, "b"]) -> Float[Array, "b n"]:
            return x
    """,
    "Rename dimension `k` to `n`": """
        def f(x: Float[Array, "n"], y: Float[Array, "k"]) -> Float[Array, "n"]:
            return x + y
    """,
    "Write `n-1` for `n_minus_1`": """
        def f(x: Float[Array, "n"], y: Float[Array, "n_minus_1"]) -> Float[Array, "n-1"]:
            return x[1:] + y
    """,
    "Write `2*N` for `2N`": """
        def f(x: Float[Array, "2N"]) -> Float[Array, "2*N"]:
            return x
    """,
    'Annotate with Float[Array, "m n"]': """
        def f(x: Float[Array, "n m"]) -> tuple[Float[Array, "n m"], Float[Array, "n"]]:
            return x, x.T
    """,
    'Annotate with Float[Array, "(n+1)//2"]': """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x[::2]
    """,
    'Annotate with Int[Array, "n"]': """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x.astype(int)
    """,
    'Annotate with Float[Array, "1 n"]': """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            h: Float[Array, "n 1"] = x[None]
            return h[0]
    """,
    "Annotate `n` with Static[int]": """
        from typedfilter import Traced, filter_jit

        @filter_jit
        def f(n: Traced[int], x: Float[Array, ""]) -> Float[Array, "..."]:
            return jax.numpy.full(n, x)
    """,
}


@pytest.mark.parametrize(("title", "text"), MENDED.items(), ids=list(MENDED))
def test_an_action_mends_what_it_is_for(editor, tmp_path, text, title):
    path = write(
        tmp_path, "mended.py", "import jax\nfrom jaxtyping import Int\n" + HEAD + textwrap.dedent(text)
    )
    editor.open(path)
    (found,) = editor.told(path, something)
    (action,) = (one for one in editor.actions(path, found) if one.title == title)
    assert action.kind == types.CodeActionKind.QuickFix
    assert list(action.diagnostics) == [found]
    editor.change(path, applied(path.read_text(), action, path))
    editor.told(path, nothing)


def test_a_function_can_be_left_out_by_an_action(editor, tmp_path):
    path = write(tmp_path, "left.py", HEAD + BAD.replace("\U0001d54a", "s"))
    editor.open(path)
    (found,) = editor.told(path, something)
    (action,) = (one for one in editor.actions(path, found) if one.title == "Leave `bad` out of the check")
    editor.change(path, applied(path.read_text(), action, path))
    editor.told(path, nothing)


# ------------------------------------------------------------------------------------------------- the end


def test_a_server_whose_editor_goes_or_that_is_killed_leaves_no_process(tmp_path):
    path = write(tmp_path, "left_alone.py", ENDLESS + GOOD)
    for kill in (True, False):
        one = Editor(tmp_path)
        group = one.process.pid
        one.open(path)
        time.sleep(0.5)
        if kill:
            one.process.kill()
        else:
            one.process._transport.get_pipe_transport(0).close()
        assert gone(group)
        one.stop()


def test_what_is_no_request_or_comes_after_the_end_is_answered_as_the_protocol_says():
    words = [sys.executable, "-m", "typedfilter", "lsp"]
    bodies = [
        b"not json",
        b"[]",
        b'{"id": 1, "method": "textDocument/nonsense"}',
        b'{"id": 2, "method": "textDocument/hover", "params": {}}',
        b'{"method": "$/nonsense"}',
        b'{"id": 3, "method": "shutdown"}',
        b'{"id": 4, "method": "textDocument/hover", "params": {}}',
        b'{"method": "exit"}',
    ]
    sent = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    done = subprocess.run(words, input=sent, capture_output=True, check=True)
    answers = done.stdout.decode().split("Content-Length: ")[1:]
    found = [json.loads(answer.partition("\r\n\r\n")[2]) for answer in answers]
    assert [(one["id"], one.get("error", one.get("result"))) for one in found] == [
        (1, {"code": -32601, "message": "there is no method textDocument/nonsense"}),
        (2, {"code": -32602, "message": "textDocument/hover: KeyError('textDocument')"}),
        (3, None),
        (4, {"code": -32600, "message": "the server is shut down"}),
    ]

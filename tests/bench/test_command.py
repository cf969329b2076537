"""`typedfilter bench`: its flags, its table, its JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from typedfilter.bench import _machine, _report, command
from typedfilter.bench._rows import Case, Lab, Row
from typedfilter.cli import main

MACHINE: dict[str, Any] = {
    "backend": "cpu",
    "devices": ["cpu"],
    "processor": "Some Processor",
    "cores": 2,
    "load": 0.5,
    "python": "3.11.7",
    "versions": {"typedfilter": "0.1.0", "jax": "0.10.2", "equinox": None},
}
FAST = Row("fast", "a call", 1.0449, "", "jax.jit", 1.05, 8.9e-6, 8.5e-6)
FASTER = Row("fast", "a call", 0.12, "", "equinox.filter_jit", 0.2, 8.9e-6, 7.4e-5)
SLOW = Row("slow", "a trace", 1.234, "", "jax.jit(jax.grad)", 1.1, 1.23, 0.9967)
ROUGH = Row("rest", "an import", 0.0812, "s", "", 0.1)
SHOWN = Row("rest", "bytes", -0.001, "bytes")


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> list[Lab]:
    """Two cases of canned rows on a machine that is described above; the labs they were run in."""
    labs: list[Lab] = []

    def case(name: str, *rows: Row) -> Case:
        def run(lab: Lab) -> list[Row]:
            labs.append(lab)
            return list(rows)

        return Case(name, name, run)

    cases = {
        "fast": case("fast", FAST, FASTER),
        "slow": case("slow", SLOW),
        "rest": case("rest", ROUGH, SHOWN),
    }
    monkeypatch.setattr(command, "CASES", cases)
    monkeypatch.setattr(_machine, "describe", lambda: MACHINE)
    return labs


def lines(*parts: str) -> str:
    return "".join(f"{part}\n" for part in parts)


WHERE = (
    "Python 3.11.7, typedfilter 0.1.0, jax 0.10.2",
    "cpu: Some Processor, 2 cores, load 0.5 when it began",
)
HEAD = " ratio  at most           case             against               typedfilter     other  what"


@pytest.mark.usefixtures("canned")
def test_the_table(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("equinox")
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == lines(
        *WHERE,
        "",
        HEAD,
        "  1.04     1.05  met      fast             jax.jit                   8.90 us   8.50 us  a call",
        "  0.12     0.20  met      fast             equinox.filter_jit        8.90 us  74.00 us",
        "  1.23     1.10  NOT MET  slow             jax.jit(jax.grad)          1.23 s 996.70 ms  a trace",
        "0.08 s     0.10  met      rest                                                          an import",
        "  0.00                    rest                                                          bytes",
        "",
        "3 of 4 targets met",
        "not met: slow against jax.jit(jax.grad): 1.23, target 1.10",
    )


def test_only_what_is_named_is_measured(canned: list[Lab], capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--only", "rest", "--only", "fast", "--rounds", "7"]) == 0
    out = capsys.readouterr().out
    assert "slow" not in out
    assert out.index("an import") < out.index("a call")
    assert [lab.rounds(100) for lab in canned] == [7, 7]


def test_each_case_has_rounds_of_its_own_unless_they_are_given(canned: list[Lab]):
    assert main(["bench", "--only", "fast"]) == 0
    assert canned[0].rounds(100) == 100


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--only", "fats"], "argument --only: invalid choice: 'fats' (choose from "),
        (["--rounds", "0"], "argument --rounds: must be a whole number from 1, not '0'"),
        (["--rounds", "many"], "argument --rounds: must be a whole number from 1, not 'many'"),
    ],
)
def test_a_command_line_that_can_not_be_read_is_status_2(
    words: list[str], complaint: str, canned: list[Lab], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        main(["bench", *words])
    assert stop.value.code == 2
    assert f"typedfilter bench: error: {complaint}" in capsys.readouterr().err
    assert canned == []


def test_a_file_that_can_not_be_written_is_status_2_before_anything_is_measured(
    tmp_path: Path, canned: list[Lab], capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "missing" / "rows.json"
    assert main(["bench", "--json", str(path)]) == 2
    assert capsys.readouterr() == ("", f"typedfilter bench: --json {path}: No such file or directory\n")
    assert canned == []


def expected_json(*rows: Row) -> Any:
    return {"machine": MACHINE, "rows": [dataclasses.asdict(row) | {"met": row.met} for row in rows]}


@pytest.mark.usefixtures("canned")
def test_json_on_stdout_stands_alone(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--only", "slow", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == expected_json(SLOW)


@pytest.mark.usefixtures("canned")
def test_json_in_a_file_comes_with_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "rows.json"
    assert main(["bench", "--json", str(path)]) == 0
    assert json.loads(path.read_text()) == expected_json(FAST, FASTER, SLOW, ROUGH, SHOWN)
    assert HEAD in capsys.readouterr().out


def test_a_row_in_json_has_these_fields():
    (row,) = json.loads(_report.as_json(MACHINE, [SLOW]))["rows"]
    assert row == {
        "case": "slow",
        "what": "a trace",
        "value": 1.234,
        "unit": "",
        "against": "jax.jit(jax.grad)",
        "target": 1.1,
        "ours": 1.23,
        "theirs": 0.9967,
        "met": False,
    }


def test_where_equinox_is_not_installed_it_is_said_and_nothing_is_compared_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "equinox", None)
    assert main(["bench", "--only", "flat", "--only", "module", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "\nequinox is not installed: not compared with it\n" in out
    assert "equinox.filter_jit" not in out
    rows = [line.split()[-1] for line in out.splitlines() if " jax.jit " in line]
    assert len(rows) == 2


def test_a_gpu_is_named_with_its_host():
    described = MACHINE | {"backend": "gpu", "devices": ["Some GPU", "Some GPU"], "load": None}
    assert _machine.in_words(described)[1] == "gpu: 2 x Some GPU, Some Processor, 2 cores"


def test_this_machine_is_described():
    machine = _machine.describe()
    assert set(machine) == set(MACHINE)
    assert machine["backend"] == "cpu"
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert machine["versions"]["jax"] == pytest.importorskip("jax").__version__
    assert _machine._version("no-such-package") is None


def test_a_machine_that_is_busy_is_said_to_be_none_to_judge_by():
    missed = Row("flat", "a call", 2.0, against="jax.jit", target=1.25)
    busy = _machine.busy({"load": 9.0, "cores": 2})
    assert busy == "but other work keeps this machine too busy to judge (load 9.0 on 2 cores)"
    assert _report.summary([missed], busy).splitlines()[0] == f"0 of 1 targets met; {busy}"
    assert _machine.busy({"load": 0.3, "cores": 2}) == ""
    assert _report.summary([missed], "").splitlines()[0] == "0 of 1 targets met"

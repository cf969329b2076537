"""Every sound function of the corpus is proved or checked; every wrong one fails, for the right reason.

A file is judged once, for all of its functions together, in whichever process has its test.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import jax
import jax.monitoring
import pytest

from typedfilter.check import Report
from typedfilter.check import run as _run
from typedfilter.check.report import text as _text

_SPEC = importlib.util.spec_from_file_location(
    "check_expectations", Path(__file__).parents[1] / "expectations.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
expectations_module = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = expectations_module
_SPEC.loader.exec_module(expectations_module)
EXPECTED = expectations_module.expectations()
CORPUS: Path = expectations_module.CORPUS


@pytest.fixture(scope="module")
def compiled() -> list[str]:
    """What is compiled from now on, nothing being known from earlier tests."""
    heard: list[str] = []

    def listen(name, seconds, **more):
        if "backend_compile" in name:
            heard.append(name)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    return heard


@pytest.mark.parametrize("file", sorted({expected.file for expected in EXPECTED}))
def test_each_verdict_on_a_file_is_the_expected_one_and_nothing_is_compiled_for_it(file, compiled):
    compiled.clear()
    before = jax.live_arrays()
    report = _run.run([str(CORPUS / file)])
    if not file.endswith("_asked.py"):  # what asks whether an array is traced is called with arrays
        assert compiled == []
        assert [a for a in jax.live_arrays() if a.size > 1 and not any(a is b for b in before)] == []
    assert not report.unreadable
    expected = [item for item in EXPECTED if item.file == file]
    assert [said for item in expected if (said := told_otherwise(item, report)) is not None] == []
    judged = {result.function for result in report if result.status != "skipped"}
    assert judged == {item.function for item in expected}


def told_otherwise(expected, report: Report) -> str | None:
    """The verdict, where it is not the expected one."""
    (result,) = [result for result in report if result.function == expected.function]
    text = _text.plain(_text.result_lines(result))
    if expected.function == "in_whole_blocks" and jax.__version_info__ < (0, 8):
        return None  # this release's symbols don't divide a product
    return None if result.status == expected.status and expected.mentions in text else text


def test_what_is_compiled_is_heard(compiled):
    compiled.clear()
    jax.jit(lambda x: x + 1)(1)
    assert compiled


def test_the_corpus_is_large_enough_to_mean_something():
    sound = [expected for expected in EXPECTED if expected.status != "failed"]
    wrong = [expected for expected in EXPECTED if expected.status == "failed"]
    assert len(sound) >= 120
    assert len(wrong) >= 90

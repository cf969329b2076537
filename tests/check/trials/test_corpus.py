"""Every sound function of the corpus is proved or checked; every wrong one fails, for the right reason."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

import jax
import pytest

from typedfilter.check import Report, Result
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


@functools.cache
def report_of(file: str) -> Report:
    return _run.run([str(CORPUS / file)])


def result_of(expected) -> Result:
    (result,) = [result for result in report_of(expected.file) if result.function == expected.function]
    return result


@pytest.mark.parametrize("expected", EXPECTED, ids=str)
def test_the_verdict_is_the_expected_one(expected):
    if expected.function == "in_whole_blocks" and jax.__version_info__ < (0, 8):
        pytest.skip("this release's symbols don't divide a product")
    result = result_of(expected)
    text = _text.plain(_text.result_lines(result))
    assert result.status == expected.status, text
    assert expected.mentions in text


def test_the_corpus_is_large_enough_to_mean_something():
    sound = [expected for expected in EXPECTED if expected.status != "failed"]
    wrong = [expected for expected in EXPECTED if expected.status == "failed"]
    assert len(sound) >= 120
    assert len(wrong) >= 90


@pytest.mark.parametrize("file", sorted({expected.file for expected in EXPECTED}))
def test_no_function_of_the_corpus_goes_without_an_expectation(file):
    expected = {item.function for item in EXPECTED if item.file == file}
    judged = {result.function for result in report_of(file) if result.status != "skipped"}
    assert judged == expected
    assert not report_of(file).unreadable

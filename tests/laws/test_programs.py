"""Laws of whole programs, drawn as text: signatures, call styles, pytrees, static values and stacks."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from strategies.programs import program
from strategies.table import LAWS


@pytest.mark.parametrize("law", LAWS)
def test_law(law: str, fuzz: Callable[..., None]) -> None:
    programs, count = LAWS[law]
    fuzz(programs(), count)


FAILING = """
agree(tf.filter_jit(double)(2), 4)
assert tf.filter_jit(double)(2) == 5, "not {doubled}"
"""


@pytest.mark.parametrize("strings", [False, True])
def test_a_program_that_fails_is_told_whole_and_fails_again_where_it_is_pasted(strings: bool, tmp_path: Path):
    with pytest.raises(AssertionError, match=r"not \{doubled\}") as caught:
        program(FAILING, strings).run()
    (note,) = caught.value.__notes__
    file = tmp_path / "pasted.py"
    file.write_text(note.partition("\n\n")[2])
    assert ("from __future__ import annotations" in file.read_text()) is strings
    with pytest.raises(AssertionError, match=r"not \{doubled\}"):
        runpy.run_path(str(file))

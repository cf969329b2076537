"""Laws of whole programs, drawn as text: signatures, call styles, pytrees, static values and stacks."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from strategies import laws, signatures
from strategies.programs import Program, program

Law = Callable[[st.SearchStrategy[Program], int], None]

LAWS: dict[str, tuple[Callable[[], st.SearchStrategy[Program]], int]] = {
    "a jitted function returns what eager Python returns, of any tree": (laws.split, 25),
    "a gradient is JAX's of the arrays taken out by hand": (laws.gradients, 15),
    "a map is JAX's of the arrays taken out by hand": (laws.maps, 15),
    "two static values that look alike are told apart": (laws.static_values, 50),
    "an object that changed, or whose class did, is what it is now": (laws.histories, 20),
    "an annotation decides roles and never results, however the function is called": (signatures.jitted, 30),
    "a map by annotations is a loop over examples": (signatures.mapped_signatures, 20),
    "a gradient by annotations is JAX's for the marked arguments": (signatures.differentiated, 20),
    "a stack is the stack of JAX's own transforms": (laws.stacks, 15),
}


@pytest.mark.parametrize("law", LAWS)
def test_law(law: str, fuzz: Law) -> None:
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

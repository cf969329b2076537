"""Laws of whole programs, drawn as text: signatures, call styles, pytrees, static values and stacks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from strategies import laws, signatures
from strategies.programs import Program, program

Law = Callable[[st.SearchStrategy[Program], int], None]

LAWS: dict[str, tuple[Callable[[], st.SearchStrategy[Program]], int]] = {
    "a jitted function returns what eager Python returns, of any tree": (laws.split, 25),
    "a gradient is JAX's of the arrays taken out by hand": (laws.gradients, 15),
    "a map is JAX's of the arrays taken out by hand": (laws.maps, 15),
    "two static values that look alike are told apart": (laws.static_values, 60),
    "an object that changed, or whose class did, is what it is now": (laws.histories, 20),
    "an annotation decides roles and never results, however the function is called": (signatures.jitted, 40),
    "a map by annotations is a loop over examples": (signatures.mapped_signatures, 20),
    "a gradient by annotations is JAX's for the marked arguments": (signatures.differentiated, 20),
    "a stack is the stack of JAX's own transforms": (laws.stacks, 20),
}


@pytest.mark.parametrize("law", LAWS)
def test_law(law: str, fuzz: Law) -> None:
    programs, count = LAWS[law]
    fuzz(programs(), count)


FAILING = 'assert tf.filter_jit(double)(2) == 5, "not {doubled}"'


@pytest.mark.parametrize("strings", [False, True])
def test_a_program_that_fails_is_told_whole_and_fails_again_where_it_is_pasted(strings: bool, tmp_path: Any):
    with pytest.raises(AssertionError) as caught:
        program(FAILING, strings).run()
    (note,) = caught.value.__notes__
    file = tmp_path / "pasted.py"
    file.write_text(note.partition("\n\n")[2])
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("AssertionError: not {doubled}\n")
    file.write_text(program("agree(tf.filter_jit(double)(2), 4)", strings).whole())
    subprocess.run([sys.executable, str(file)], check=True)

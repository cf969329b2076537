"""Every law of programs by its name: the programs, and how many of them are tried."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from strategies import laws, signatures
from strategies.programs import Program

__all__ = ["LAWS"]

LAWS: dict[str, tuple[Callable[[], st.SearchStrategy[Program]], int]] = {
    "a jitted function returns what eager Python returns, of any tree": (laws.split, 25),
    "a gradient is JAX's of the arrays taken out by hand": (laws.gradients, 15),
    "a map is JAX's of the arrays taken out by hand": (laws.maps, 15),
    "static values that look alike are told apart": (laws.static_values, 8),
    "an object that changed, or whose class did, is what it is now": (laws.histories, 20),
    "an annotation decides roles and never results, however the function is called": (signatures.jitted, 30),
    "a map by annotations is a loop over examples": (signatures.mapped_signatures, 20),
    "a gradient by annotations is JAX's for the marked arguments": (signatures.differentiated, 20),
    "a stack is the stack of JAX's own transforms": (laws.stacks, 15),
}

"""What stands in the place of a function and is none: as whose argument, the public function tells."""

from __future__ import annotations

PASS_FUNCTION = "pass the function itself, f, not what a call of it returns, f(x)"


class UncallableError(TypeError):
    """A function was needed, to read its parameters, and there is none."""

    def __init__(self, value: object) -> None:
        super().__init__(f"{type(value).__name__!r} object is not callable\n  fix: {PASS_FUNCTION}")
        self.value = value

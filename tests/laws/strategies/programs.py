"""A program that a law drew: it is run as it is printed, so that what is printed fails as it did."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import warnings
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strategies import prelude

__all__ = ["Program", "hold", "program"]

_FUTURE = "from __future__ import annotations\n"
_PRELUDE = inspect.getsource(prelude)


@dataclasses.dataclass(frozen=True)
class Program:
    """The text after the prelude, and whether its annotations are strings."""

    text: str
    strings: bool = False

    def run(self) -> None:
        """Raise what the program raises; its text comes with it."""
        names: dict[str, Any] = {**vars(prelude), "__name__": "program"}
        code = (_FUTURE if self.strings else "") + self.text
        try:
            with warnings.catch_warnings():  # some are marked to be donated of which nothing can be used
                warnings.filterwarnings("ignore", "Some donated buffers were not usable")
                exec(compile(code, "<program>", "exec", dont_inherit=True), names)
        except BaseException as error:
            error.add_note(f"The program, to be pasted into a file:\n\n{self.whole()}")
            raise

    def whole(self) -> str:
        """The text of a file that runs by itself."""
        start = _PRELUDE if self.strings else _PRELUDE.replace(_FUTURE, "")
        return f"{start}\n\n# {'-' * 20} the program\n\n{self.text}"

    def __repr__(self) -> str:
        return f"Program(strings={self.strings}, text='''\n{self.text}''')"


def program(text: str, strings: bool = False, **parts: str) -> Program:
    """A program whose text has `parts` filled in, each at a line's end or as lines of its own."""
    text = textwrap.dedent(text).lstrip()
    for name, part in parts.items():
        text = text.replace(f"<{name}>", part)
    return Program(text, strings)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]  # programs are long, and compile


def hold(programs: st.SearchStrategy[Program], count: int, **how: Any) -> None:
    """Run so many programs of a strategy, and raise what one of them raises; `how` is Hypothesis's."""

    @settings(max_examples=count, suppress_health_check=SLOW, **how)
    @given(programs)
    def law(drawn: Program) -> None:
        drawn.run()

    law()

"""How a verdict is reached: what is tried how often, whom it never blames, and what it never passes."""

from __future__ import annotations

import dataclasses
import linecache
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import pytest
import typing_extensions
from jaxtyping import Array, Float, Int, PyTree

import typedfilter
from typedfilter import filter_jit
from typedfilter.check import check_shapes
from typedfilter.check.inputs.sizes import Names
from typedfilter.check.report import progress as _progress
from typedfilter.check.trials import patience as _patience
from typedfilter.check.trials import verdict as _verdict


def verdict(fn):
    (result,) = check_shapes(fn)
    return result


def test_a_body_is_traced_once_with_symbols_and_at_a_handful_of_sizes():
    shapes = []

    def fn(x: Float[Array, "n m"]) -> Float[Array, "n"]:
        shapes.append(x.shape)
        return x.sum(axis=1)

    assert verdict(fn).status == "proved"
    symbolic = [shape for shape in shapes if not all(isinstance(size, int) for size in shape)]
    assert [tuple(map(str, shape)) for shape in symbolic] == [("n", "m")]
    assert len(shapes) <= 6
    assert len(set(map(str, shapes))) == len(shapes)


def test_a_constant_of_the_function_is_a_size_that_is_tried_and_so_is_the_next():
    sizes = []

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        sizes.append(x.shape[0])
        return x * (x.shape[0] > 17)

    verdict(fn)
    assert {17, 18} <= {size for size in sizes if isinstance(size, int)}


def test_what_is_proved_is_not_tried_at_every_constant_but_where_one_is_compared():
    sizes = []

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        sizes.append(x.shape[0])
        return x * (x.shape[0] != 17) + 4

    assert verdict(fn).status == "proved"
    assert [size for size in sizes if isinstance(size, int)] == [17, 3, 1]


def test_without_a_name_one_trace_is_enough():
    traces = []

    def fn(x: Float[Array, "3 4"]) -> Float[Array, "4 3"]:
        traces.append(x)
        return x.T

    assert verdict(fn).message == "its sizes are fixed"
    assert len(traces) == 1


def test_a_jitted_function_stays_usable_after_its_check():
    @filter_jit
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return 2 * x

    assert verdict(fn).status == "proved"
    assert fn(jnp.ones(3)).tolist() == [2.0, 2.0, 2.0]


def test_the_checks_of_the_library_may_be_off(monkeypatch):
    monkeypatch.setenv("TYPEDFILTER_CHECK", "off")

    @filter_jit
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x[1:]

    assert verdict(fn).status == "failed"


@pytest.mark.parametrize("message", [1, 2])
def test_a_value_of_an_array_is_asked_for_outside_of_a_transform_only(message):
    def eager(x: Float[Array, "n"]) -> float:
        return float(x.sum()) if message == 1 else x.sum().item()

    assert verdict(eager).status == "skipped"
    assert "value of an array" in verdict(eager).message
    assert verdict(filter_jit(eager)).status == "failed"


def test_a_function_that_needs_a_tree_of_its_own_is_not_blamed():
    def fn(params: PyTree[Float[Array, "n"]], x: Float[Array, "n"]) -> Float[Array, "n"]:
        return params["w"] * x

    result = verdict(fn)
    assert result.status == "skipped"
    assert result.fix == "add @typedfilter.check.example with what it takes"


def test_a_function_that_needs_two_elements_is_tried_with_two():
    def fn(xs: list[Float[Array, "n"]]) -> Float[Array, "n"]:
        a, b = xs
        return a + b

    def wrong(xs: list[Float[Array, "n"]]) -> Float[Array, "n"]:
        a, b = xs
        return jnp.concatenate([a, b])

    assert verdict(fn).status == "proved"
    assert verdict(wrong).status == "failed"


def test_shapes_that_do_not_fit_are_no_excuse_where_a_list_is_of_any_length():
    def fn(xs: list[Float[Array, "n"]], y: Float[Array, "m"]) -> Float[Array, "n"]:
        return xs[0] + y

    assert verdict(fn).status == "failed"


def test_what_it_refuses_in_words_is_listed_and_not_blamed():
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        if x.shape[0] == 1:
            raise ValueError("more than one")
        return x

    result = verdict(fn)
    assert result.status == "checked"
    assert "it refuses n=1: ValueError: more than one" in result.message


def test_an_error_deep_in_another_library_is_told_with_the_line_that_led_there():
    def fn(x: Float[Array, "n"]) -> Float[Array, ""]:
        return jnp.einsum("ij->", x)

    frame = verdict(fn).frame
    assert frame is not None
    assert frame.file == __file__
    assert frame.function == "fn"


def test_many_choices_are_covered_one_and_two_at_a_time():
    points = [_verdict._layout.Point(f"p{i}", ("a", "b", "c")) for i in range(6)]
    cases = list(_verdict._layout.cases_of(points))
    assert len(cases) <= 80
    for i in range(6):
        assert {f"p{i}": 2} in cases
    assert {"p0": 1, "p1": 2} in cases


def test_few_choices_are_covered_in_all_combinations():
    points = [_verdict._layout.Point(f"p{i}", ("a", "b")) for i in range(4)]
    assert len(list(_verdict._layout.cases_of(points))) == 16


def test_names_with_given_sizes_are_not_varied():
    names = Names(("n", "m"), fixed=(("n", 3),))
    assert names.varied == ("m",)


def test_an_internal_mistake_hides_no_other_verdict(monkeypatch, tmp_path):
    from typedfilter.check import run as _run

    (tmp_path / "two.py").write_text(
        "from jaxtyping import Array, Float\n\n"
        "def a(x: Float[Array, 'n']) -> Float[Array, 'n']:\n    return x\n\n"
        "def b(x: Float[Array, 'n']) -> Float[Array, 'n']:\n    return x\n"
    )
    judge = _run.judge

    def broken(subject, *options):
        if subject.name == "a":
            raise RuntimeError("oh")
        return judge(subject, *options)

    monkeypatch.setattr(_run, "judge", broken)
    report = _run.run([str(tmp_path / "two.py")])
    assert [result.status for result in report] == ["skipped", "proved"]
    assert report.results[0].message == "the check itself failed: RuntimeError: oh"


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass


def test_progress_is_shown_after_a_second_on_a_terminal_only(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setitem(sys.modules, "rich.progress", None)  # as if it were not installed
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with _progress.Progress() as progress:
        progress(0.1, "first")
        assert terminal.text == ""
        clock[0] = 1.5
        progress(0.5, "second")
        assert " 50% second" in terminal.text
    assert terminal.text.endswith("\r")


def test_progress_is_silent_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "_PATIENCE", 0.0)
    with _progress.Progress() as progress:
        progress(0.5, "second")
    assert capsys.readouterr().err == ""


def test_64_bit_types_are_tried_where_they_are_enabled():
    code = (
        "import jax\n"
        "from jaxtyping import Array, Float64, Int\n"
        "from typedfilter.check import check_shapes\n"
        "def f(x: Float64[Array, 'n']) -> Float64[Array, 'n']:\n    return x * 2\n"
        "def g(x: Float64[Array, 'n']) -> Int[Array, 'n']:\n    return x\n"
        "print(check_shapes(f).status, check_shapes(g).status)\n"
    )
    root = str(Path(str(typedfilter.__file__)).parent.parent)
    for enabled, said in (("1", "proved failed"), ("0", "skipped skipped")):
        environment = {**os.environ, "JAX_ENABLE_X64": enabled, "PYTHONPATH": root}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )
        assert done.stdout.strip() == said, done.stderr


def test_a_signature_without_shapes_is_not_run():
    ran = []

    class Model:
        w: Float[Array, "n"]

    def save(model: Model) -> None:
        ran.append(model)

    def count(model: Model, k: int) -> int:
        ran.append(model)
        return k

    from typedfilter.check.trials import judge as _judge
    from typedfilter.check.trials import subject as _subject

    for fn in (save, count):
        (subject,) = _subject.subjects_of(fn)
        assert not _judge.is_annotated(subject)
    assert not ran


def test_keys_and_symbols_do_not_outlive_a_failure():
    def fn(x: Float[Array, "n"], k: Int[Array, ""]) -> Float[Array, "n"]:
        return x[k:]

    with jax.checking_leaks():
        assert verdict(fn).status == "failed"


def test_symbols_that_take_for_ever_are_given_up_and_sizes_are_tried_instead(monkeypatch):
    monkeypatch.setattr(_patience, "SECONDS", 0.3)

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        n = x.shape[0]
        while n != 1:
            n = 1 if isinstance(n, int) else n
        return x

    assert verdict(fn).message == "at (n=3) and (n=4) and (n=1)"


def test_a_function_that_never_ends_is_skipped(monkeypatch):
    monkeypatch.setattr(_patience, "SECONDS", 0.3)

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        while True:
            pass

    (result,) = check_shapes(fn)
    assert (result.status, result.message, result.fix) == (
        "skipped",
        "it takes more than 0.3 seconds to trace",
        "put `# typedfilter: ignore` on its `def`",
    )


def added(x: Any, y: Any) -> Any:
    size = x.shape[0]
    return [size if isinstance(size, int) else operator.index(size), x + y][1]


def test_what_no_symbol_is_taken_for_is_told_as_numbers_show_it():
    def fn(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
        return added(x, y)

    result = verdict(fn)
    assert (result.status, result.message) == (
        "failed",
        "TypeError: add got incompatible shapes for broadcasting: (3,), (5,).",
    )


def test_what_unpacks_an_axis_is_told_how_long_that_is():
    def fn(state: Float[Array, "variables cells"]) -> Float[Array, "variables cells"]:
        mass, speed, pressure = state
        return jnp.stack([mass, mass * speed, pressure])

    result = verdict(fn)
    assert (result.status, result.message, result.good_sizes, result.fix) == (
        "failed",
        "ValueError: too many values to unpack (expected 3)",
        {"variables": 3, "cells": 5},
        "write 3 for `variables` in the annotations, if it is always 3",
    )


def test_time_that_others_take_from_the_process_is_not_counted(monkeypatch):
    monkeypatch.setattr(_patience, "SECONDS", 0.05)
    monkeypatch.setattr(_patience, "_IN_THE_END", 10_000)
    monkeypatch.setattr(time, "process_time", lambda: 0.0)

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        return x

    assert verdict(fn).status == "proved"


def test_nobody_is_blamed_where_what_may_be_meant_takes_too_long(monkeypatch):
    monkeypatch.setattr(_patience, "SECONDS", 0.3)

    def fn(x: Float[Array, "n"], y: Float[Array, "n_minus_1"]) -> Float[Array, "n"]:
        z = x[1:] + y
        while z.shape[0] > 0:
            pass
        return x

    result = verdict(fn)
    assert (result.status, result.message) == (
        "skipped",
        "where n_minus_1 = n-1, it takes more than 0.3 seconds to trace",
    )


def test_the_alarm_of_somebody_else_is_left_alone(monkeypatch):
    monkeypatch.setattr(_patience, "SECONDS", 0.0001)

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        assert verdict(fn).status == "proved"
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_function_that_exits_has_failed_and_the_run_goes_on():
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        sys.exit(0)

    assert verdict(fn).status == "failed"
    assert verdict(fn).message == "SystemExit: 0"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return p['w']", "it refuses all that was tried: KeyError: 'w'"),
        ("return xs[7]", "it refuses all that was tried: IndexError: list index out of range"),
        ("a, b, c, d = xs; return a", "(expected 4, got 2)"),
        ("return plus(*xs, x, x, x)", "takes 2 positional arguments but 5 were given"),
        ("return t.w", "'tuple' object has no attribute 'w'"),
    ],
)
def test_what_only_says_that_another_container_is_wanted_is_no_mistake(body, message):
    def plus(a, b):
        return a + b

    namespace: dict[str, Any] = {"plus": plus, **globals()}
    source = (
        "def fn(xs: list[Float[Array, 'n']], p: dict[str, Float[Array, 'n']], t: PyTree[Float[Array, 'n']],\n"
        f"       x: Float[Array, 'n']) -> Float[Array, 'n']:\n    {body}\n"
    )
    file = f"<containers {body}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec", dont_inherit=True), namespace)
    found = verdict(namespace["fn"])
    assert found.status == "skipped"
    assert message in found.message


def test_a_name_that_only_the_result_has_is_said_to_be_any_size():
    def one(x: Float[Array, "n m"]) -> tuple[Float[Array, "n k"], Float[Array, "k"]]:
        return x, x[0]

    def several(x: Float[Array, "n m"]) -> Float[Array, "*some k"]:
        return x

    def none(x: Float[Array, "n m"]) -> Float[Array, "m n"]:
        return x.T

    assert verdict(one).message == "for all sizes; `k` may be any size: only the result says it"
    assert (
        verdict(several).message
        == "for all sizes; `*some` and `k` may be any size: only the result says them"
    )

    def axes_of_an_argument(x: Float[Array, "*some m"]) -> Float[Array, "*some"]:
        return x.sum(-1)

    assert verdict(none).message == "for all sizes"
    assert verdict(axes_of_an_argument).message == "for all sizes; in 3 cases"


def test_a_function_for_the_inside_of_a_map_is_skipped_with_what_to_check():
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jax.lax.psum(x, "devices")

    (result,) = check_shapes(fn)
    assert (result.status, result.message, result.fix) == (
        "skipped",
        "it is written for the inside of a mapped axis named `devices`",
        'check a function that maps it: filter_vmap(..., axis_name="devices")',
    )


def test_a_class_that_sets_more_than_it_annotates_is_not_blamed_for_that():
    class Net:
        weight: Float[Array, "n"]

        def __init__(self, size):
            self.scale = 2.0

        def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return self.scale * self.weight * x

    found = next(result for result in check_shapes(Net) if result.function.endswith("apply"))
    assert (found.status, found.message, found.fix) == (
        "skipped",
        "a Net was made of its annotated attributes, and `scale` is not one of them",
        "annotate `scale` in the class `Net`, or make it a dataclass",
    )


def test_a_field_of_which_nothing_is_said_only_concerns_who_uses_it():
    class Linear:
        weight: Float[Array, "n"]

        def __init__(self, weight):
            self.weight = weight

        def __call__(self, x):
            return x

    @dataclasses.dataclass
    class Net:
        inner: type[Linear]  # a class, of which only its instances say a shape
        gain: Float[Array, "n"]

        def uses(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return cast(Any, self.inner)(x)

        def adds(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return self.inner + x

        def hands_on(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return jax.jit(lambda inner, x: x)(self.inner, x)

        def does_not(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return self.gain * x

    results = {result.function.rpartition(".")[2]: result for result in check_shapes(Net)}
    assert results["does_not"].status == "proved"
    for name in ("uses", "adds", "hands_on"):
        assert (results[name].status, results[name].message, results[name].fix) == (
            "skipped",
            "field `inner` of `Net` is of type type and has no default",
            "add @typedfilter.check.example(inner=...) on the class `Net`",
        )


def test_a_name_that_the_axes_of_another_have_is_asked_to_be_changed():
    def fn(x: Float[Array, "b_0"], y: Float[Array, "*b"]) -> Float[Array, "*b"]:
        return y

    (result,) = check_shapes(fn)
    assert (result.status, result.message, result.fix) == (
        "skipped",
        "the dimension `b_0` is called as the axes of `*b` are here",
        "rename one of them",
    )


class Failing:
    """A class whose constructor has a mistake of its own."""

    def __init__(self, weight: Float[Array, "n"]) -> None:
        self.weight = weight.no_such_method()

    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.weight


def test_only_the_constructor_that_fails_is_blamed_for_it():
    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Failing)}
    assert (found["__init__"].status, found["apply"].status) == ("failed", "skipped")
    assert found["apply"].message.startswith("its arguments can't be made: AttributeError: ")


def test_a_dimension_of_an_argument_that_is_none_says_whose_it_is():
    def resized(x: Float[Array, "{shape[0]} n"], shape: tuple[int, int] | None = None) -> Float[Array, "n"]:
        return x.sum(axis=0)

    (result,) = check_shapes(resized)
    assert result.status == "skipped"
    assert result.message == (
        "a dimension has no value: `{shape[0]}` can't be evaluated where shape is None: "
        "'NoneType' object is not subscriptable"
    )
    assert result.fix == "use names of arguments in {...}, which are there whatever the caller leaves out"


@typing_extensions.overload
def _either_way(
    w: Float[Array, "o i"], x: Float[Array, "i"], turned: Literal[False]
) -> Float[Array, "o"]: ...
@typing_extensions.overload
def _either_way(w: Float[Array, "i o"], x: Float[Array, "i"], turned: Literal[True]) -> Float[Array, "o"]: ...
def _either_way(w: Float[Array, "a b"], x: Float[Array, "c"], turned: bool) -> Float[Array, "d"]:
    return x @ w if turned else w @ x


def test_nobody_is_blamed_for_what_overloads_say_instead_of_the_function():
    (result,) = check_shapes(_either_way)
    assert result.status == "skipped"
    said = "its overloads say which arguments go together, and its own annotations do not: TypeError: dot"
    assert result.message.startswith(said)

"""What the benchmark compares: like with like, and with the targets that we set ourselves."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pytest

from typedfilter.bench import _loops, _process
from typedfilter.bench._cases import CASES
from typedfilter.bench._rows import OURS, Lab, Row
from typedfilter.bench._timing import Call, Timer, Times


class Canned(Timer):
    """Calls every contender once, and says that ours took 1 s and all others 2 s."""

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[str, Any] = {}

    def calls(self, contenders: Mapping[str, Call], rounds: int) -> Times:
        self.results = {name: jax.device_get(call()) for name, call in contenders.items()}
        return {name: [1.0 if name == OURS else 2.0] * rounds for name in contenders}

    def first_calls(self, makers: Mapping[str, Callable[[], Call]], rounds: int) -> Times:
        self.results = {name: make()() for name, make in makers.items()}
        return {name: [1.0 if name == OURS else 2.0] * rounds for name in makers}

    def once(self, call: Call) -> tuple[float, float]:
        call()
        return 1.0, 4.0


def installed_equinox() -> Any:
    """Equinox, where it is installed and can be called."""
    if jax.__version_info__ < (0, 8):
        pytest.skip("on this JAX, whoever calls equinox.filter_jit crashes when the process ends")
    return pytest.importorskip("equinox")


@functools.cache
def run(name: str, with_equinox: bool = False) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a case, and what each of its last contenders returned: three tests ask for them."""
    timer = Canned()
    rows = CASES[name].run(Lab(timer, installed_equinox() if with_equinox else None, 3))
    return rows, timer.results


timed = pytest.mark.parametrize(
    "name",
    [
        "annotated",
        "annotated-short",
        "arrays",
        "flat",
        "tree",
        "module",
        "module-small",
        "module-fresh",
        "module-loop",
        "dataclass",
        "checks",
        "vmap",
        "vmap-short",
        "vmap-checked",
        "grad",
        "grad-checked",
        "eager-scan",
    ],
)


@timed
@pytest.mark.parametrize("with_equinox", [False, True])
def test_all_contenders_compute_the_same(name: str, with_equinox: bool):
    ours, *others = run(name, with_equinox)[1].values()
    assert others
    for theirs in others:
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        jax.tree.map(np.testing.assert_allclose, ours, theirs)


@timed
def test_a_row_says_our_time_in_terms_of_the_other(name: str):
    for row in run(name)[0]:
        assert (row.case, row.value, row.ours, row.theirs) == (name, 0.5, 1.0, 2.0)


def test_the_targets_are_those_that_we_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_loops, "_LAYERS", 3)
    names = ("annotated", "flat", "tree", "dataclass", "checks", "vmap", "grad", "first-call", "arrays")
    names = (*names, "annotated-short", "vmap-short", "vmap-checked", "grad-checked")
    names = (*names, "module", "module-small", "module-fresh", "module-loop", "layers", "eager-scan")
    rows = [row for name in names for row in run(name, with_equinox=True)[0]]
    assert {(row.case, row.against): row.target for row in rows if row.target} == {
        ("annotated", "jax.jit"): 1.05,
        ("annotated", "equinox.filter_jit"): 0.5,
        ("flat", "jax.jit"): 1.25,
        ("flat", "equinox.filter_jit"): 0.2,
        ("tree", "jax.jit"): 1.6,
        ("tree", "equinox.filter_jit"): 0.5,
        ("module", "jax.jit"): 0.35,
        ("module", "equinox.filter_jit"): 0.2,
        ("module-small", "jax.jit"): 0.75,
        ("module-small", "equinox.filter_jit"): 0.25,
        ("module-fresh", "jax.jit"): 1.08,
        ("module-fresh", "equinox.filter_jit"): 0.71,
        ("module-loop", "jax.jit"): 0.85,
        ("module-loop", "equinox.filter_jit"): 0.4,
        ("dataclass", "jax.jit"): 1.05,
        ("checks", "check=False"): 1.02,
        ("annotated-short", "jax.jit"): 1.05,
        ("annotated-short", "equinox.filter_jit"): 0.14,
        ("arrays", "jax.jit"): 1.05,
        ("vmap", "jax.vmap"): 1.12,
        ("vmap-short", "jax.vmap"): 1.12,
        ("vmap-short", "equinox.filter_vmap"): 0.67,
        ("vmap-checked", "jax.vmap"): 1.15,
        ("grad", "jax.grad"): 1.15,
        ("grad-checked", "jax.grad"): 1.15,
        ("first-call", "jax.jit(jax.grad)"): 1.1,
        ("layers", "layers written out"): 0.1,
        ("eager-scan", "jax.lax.scan"): 1.0,
    }


def test_what_construction_costs_is_said_for_each_field():
    timer = Canned()
    new, seen = CASES["construct"].run(Lab(timer, None, 3))
    ours, plain = timer.results.values()
    jax.tree.map(np.testing.assert_allclose, jax.tree.leaves(ours), jax.tree.leaves(plain))
    for row in (new, seen):
        assert (row.value, row.unit, row.target) == (-1 / 4 * 1e6, "us a field more", 30.0)


def test_both_first_calls_lower_the_same_number_of_arguments():
    timer = Canned()
    CASES["first-call"].run(Lab(timer, None, 1))
    counts = [len(jax.tree.leaves(lowered.out_info)) for lowered in timer.results.values()]
    assert counts == [512, 512]


def test_layers_that_are_scanned_and_written_out_are_one_gradient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_loops, "_LAYERS", 3)
    timer = Canned()
    CASES["layers"].run(Lab(timer, None, 1))
    scanned, written_out = timer.results.values()
    stacked, layers = scanned.in_avals, written_out.in_avals
    assert sum(aval.size for aval in jax.tree.leaves(stacked)) == sum(a.size for a in jax.tree.leaves(layers))
    assert "while" in scanned.as_text()
    assert "while" not in written_out.as_text()


def test_the_number_of_leaves_has_a_row_a_size_and_one_for_the_growth():
    *sizes, ours, theirs = run("leaves")[0]
    assert [int(row.what.split()[-2]) for row in sizes] == [16, 64, 256, 1024, 4096, 16384]
    assert ours.value == pytest.approx(0)
    assert ours.target == 1.1
    assert (theirs.against, theirs.target) == ("jax.jit", None)


def test_dispatch_compares_when_a_call_returns_with_when_it_is_ready():
    ours, by_hand = run("dispatch")[0]
    assert (ours.value, ours.ours, ours.theirs, ours.target) == (0.25, 1.0, 4.0, 0.1)
    assert by_hand.target is None


def test_what_stays_allocated_is_counted():
    kept: list[object] = []
    leaky, *_ = _process._left_over("m", "each", lambda number: kept.append([number, object()]), 1000, 0.0)
    clean, *_ = _process._left_over("m", "each", lambda number: [number, object()], 1000, 0.0)
    assert 2 <= leaky.value <= 5
    assert leaky.met is False
    assert abs(clean.value) < 0.1


def test_models_that_are_dropped_are_counted(monkeypatch: pytest.MonkeyPatch):
    kept: list[object] = []
    make = _process.python_module

    def keeping(module: object) -> object:
        kept.append(module)
        return module

    monkeypatch.setattr(_process, "python_module", lambda layers: keeping(make(layers)))
    monkeypatch.setattr(_process, "_CALLS", 100)
    *_, alive = CASES["memory-models"].run(Lab(Timer(), None, 1))
    assert (alive.value, alive.target, alive.met) == (10, 0.0, False)
    kept.clear()
    monkeypatch.setattr(_process, "python_module", make)
    *_, alive = CASES["memory-models"].run(Lab(Timer(), None, 1))
    assert (alive.value, alive.met) == (0, True)


def test_memory_that_the_system_does_not_tell_has_no_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_process, "_resident_bytes", lambda: None)
    assert len(_process._left_over("m", "each", lambda number: None, 10, 0.0)) == 1


def test_the_import_is_timed_in_a_process_of_its_own():
    cpu, wall = CASES["import"].run(Lab(Timer(), None, 1))
    assert (cpu.unit, wall.unit, cpu.target, wall.target) == ("s", "s", 0.1, None)
    assert cpu.value > 0
    assert wall.value > 0


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (1.05, 1.05, True),
        (1.0549, 1.05, True),
        (1.0551, 1.05, False),
        (-0.001, 0.0, True),
        (math.inf, 1.0, False),
    ],
)
def test_a_target_is_met_to_the_digits_that_are_shown(value: float, target: float, met: bool):
    assert Row("case", "what", value, target=target).met is met


def test_without_a_target_nothing_is_met_or_missed():
    assert Row("case", "what", 1.0).met is None

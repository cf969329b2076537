# ruff: noqa: E501 (verdicts are one line each, however long)
"""What people read when a shape does not hold: whole texts, of functions in the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from typedfilter.check import run as _run
from typedfilter.check.report import text as _text

CORPUS = Path(__file__).parents[1] / "corpus"

TEXTS = {
    "wrong_dimensions.py::transposed_weight": """
wrong_dimensions.py:9: failed transposed_weight
  TypeError: dot_general requires contracting dimensions to have the same shape, got (n,) and (m,).
      9 | def transposed_weight(x: Float[Array, "b n"], w: Float[Array, "m n"]) -> Float[Array, "b m"]:
  where: b is axis 0 of `x`, n is axis 1 of `x`, m is axis 0 of `w`
  for example at: b=3, n=5, m=7
  raised in transposed_weight (wrong_dimensions.py:10)
     10 |     return x @ w
""",
    "wrong_dimensions.py::wrong_order": """
wrong_dimensions.py:14: failed wrong_order
  the return value is not what is annotated: axis 0 is b, not m
     14 | def wrong_order(x: Float[Array, "b n"], w: Float[Array, "n m"]) -> Float[Array, "m b"]:
        |                                                                    ^^^^^^^^^^^^^^^^^^^
  expected: Float[Array, 'm b']
  found: f32[b,m]
  where: b is axis 0 of `x`, n is axis 1 of `x`, m is axis 1 of `w`
  for example at: b=3, n=5, m=7
""",
    "wrong_dimensions.py::one_is_special": """
wrong_dimensions.py:64: failed one_is_special
  the return value is not what is annotated: 0 axes, not 1
     64 | def one_is_special(x: Float[Array, "n"]) -> Float[Array, "n"]:
        |                                             ^^^^^^^^^^^^^^^^^
  expected: Float[Array, 'n']
  found: f32[]
  where: n is axis 0 of `x`
  for example at: n=1
  but not at: n=3
""",
    "wrong_dimensions.py::assumes_the_whole": """
wrong_dimensions.py:126: failed assumes_the_whole
  the return value is not what is annotated: axis 0 is 1, not n
    126 | def assumes_the_whole(x: Float[Array, "#n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        |                                                                       ^^^^^^^^^^^^^^^^^
  expected: Float[Array, 'n']
  found: f32[1]
  where: n is axis 0 of `y`
  with: axis 0 of `x` of size 1
  for example at: n=3
""",
    "wrong_types.py::float_for_int": """
wrong_types.py:17: failed float_for_int
  the return value is not what is annotated: the dtype is float32
     17 | def float_for_int(x: Float[Array, "n"]) -> Int[Array, "n"]:
        |                                            ^^^^^^^^^^^^^^^
  expected: Int[Array, 'n']
  found: f32[n]
  where: n is axis 0 of `x`
  for example at: n=3
""",
    "wrong_types.py::wrong_field": """
wrong_types.py:122: failed wrong_field
  `.variance` of the return value is not what is annotated: 0 axes, not 1
    122 | def wrong_field(x: Float[Array, "b n"]) -> Moments:
        |                                            ^^^^^^^
  expected: Float[Array, 'n']
  found: f32[]
  where: b is axis 0 of `x`, n is axis 1 of `x`
  for example at: b=3, n=5
""",
    "wrong_types.py::one_of_the_literals": """
wrong_types.py:166: failed one_of_the_literals
  the return value is not what is annotated: 1 axis, not 0
    168 | ) -> Float[Array, ""]:
        |      ^^^^^^^^^^^^^^^^
  expected: Float[Array, '']
  found: f32[n]
  where: n is axis 0 of `x`
  with: how='none'
  for example at: n=3
""",
    "wrong_types.py::forgot_to_map": """
wrong_types.py:200: failed forgot_to_map
  argument 0 of `fn` is f32[b,n], not Float[Array, 'n'] (2 axes, not 1)
    200 | def forgot_to_map(
  where: b is axis 0 of `xs`, n is axis 1 of `xs`, m is axis 0 of `fn()`
  for example at: b=3, n=5, m=7
  raised in forgot_to_map (wrong_types.py:203)
    203 |     return fn(xs)
""",
    "wrong_types.py::none_forgotten": """
wrong_types.py:156: failed none_forgotten
  TypeError: unsupported operand type(s) for +: 'Array' and 'NoneType'
    156 | def none_forgotten(x: Float[Array, "n"], bias: Float[Array, "n"] | None = None) -> Float[Array, "n"]:
  where: n is axis 0 of `x`
  with: bias: None
  for example at: n=3
  raised in none_forgotten (wrong_types.py:157)
    157 |     return x + bias
""",
    "wrong_classes.py::Network.__call__": """
wrong_classes.py:69: failed Network.__call__
  the return value is not what is annotated: 2 axes, not 1
     69 |     def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        |                                                 ^^^^^^^^^^^^^^^^^
  expected: Float[Array, 'o']
  found: f32[1,second_o]
  where: first_i is axis 0 of `self.first.weight`, first_o is axis 1 of `self.first.weight`, second_i is
    axis 0 of `self.second.weight`, second_o is axis 1 of `self.second.weight`, i is axis 0 of `x`
  for example at: first_o=3, second_o=5, i=7, first_i=7, second_i=3
""",
    "wrong_transforms.py::mapped": """
wrong_transforms.py:39: failed mapped
  the return value is not what is annotated
     39 | def mapped(x: Float[Array, "n"], w: VmapAxis[None, Float[Array, "n m"]]) -> Float[Array, "n"]:
        |                                                                             ^^^^^^^^^^^^^^^^^
  expected: Float[Array, 'n']
  found: f32[m]
  where: n is axis 0 of `x`, m is axis 1 of `w`, batch is the mapped axis
  for example at: n=3, m=5, batch=7
""",
    "wrong_transforms.py::no_such_axis": """
wrong_transforms.py:45: failed no_such_axis
  argument `x` has no axis 2 to map over: it is an array f32[n,batch]
     45 | def no_such_axis(x: Annotated[Float[Array, "n"], VmapAxis[2]]) -> Float[Array, "n"]:
        |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  expected: at least 3 dimensions
  found: an array f32[n,batch]
  where: n is axis 0 of `x`, batch is the mapped axis
  for example at: n=3, batch=5
""",
    "wrong_transforms.py::calls_another": """
wrong_transforms.py:108: failed calls_another
  vector_only(): argument `x` is f32[n,m], but Float[Array, 'm'] needs 1 axis
    108 | def calls_another(x: Float[Array, "n m"]) -> Float[Array, "m"]:
  expected: Float[Array, 'm']
  found: f32[n,m]
  where: n is axis 0 of `x`, m is axis 1 of `x`
  for example at: n=3, m=5
  raised in calls_another (wrong_transforms.py:109)
    109 |     return vector_only(x)
""",
    "sound_sizes.py::refuses_odd_sizes": """
sound_sizes.py:37: checked refuses_odd_sizes: at (n=4) and (n=2); it refuses n=3: ValueError: an even size, please, not 3
""",
    "sound_classes.py::Network": """
sound_classes.py:69: proved Network.__call__: for all sizes where first_i = i, second_i = first_o; with self.activation its default; `o` may be any size: only the result says it
""",
}


@pytest.mark.parametrize("target", TEXTS)
def test_the_whole_text_of_a_verdict(target, monkeypatch):
    monkeypatch.chdir(CORPUS)
    (result,) = _run.run([target])
    assert _text.plain(_text.result_lines(result)) == TEXTS[target].strip("\n")


def test_the_summary_counts_what_is_good_only_as_it_is_meant(tmp_path):
    file = tmp_path / "meant.py"
    file.write_text(
        "from jaxtyping import Array, Float\n"
        'def pairs(x: Float[Array, "n"]) -> Float[Array, "n//2"]:\n'
        "    return x.reshape(-1, 2).sum(1)\n"
        'def whole(x: Float[Array, "n"]) -> Float[Array, "n"]:\n'
        "    return x\n"
    )
    report = _run.run([str(file)])
    *_, meant, counts = _text.plain(_text.lines(report.results, report.unreadable)).splitlines()
    assert meant == "1 of the good ones only as it is meant: --strict takes that for a failure"
    assert counts == "2 proved in 1 file"

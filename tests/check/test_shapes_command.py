"""`typedfilter shapes`: the source of a function with the shapes of its locals, and what is wrong where."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from typedfilter.cli import main

HEAD = """
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

"""


@pytest.fixture
def shapes(tmp_path, monkeypatch, capsys):
    """Write a file of this source below the imports, show it, return the status and what was printed."""
    monkeypatch.chdir(tmp_path)

    def show(text: str, *words: str, target: str = "model.py") -> tuple[int, str, str]:
        (tmp_path / "model.py").write_text(HEAD.lstrip() + textwrap.dedent(text).lstrip())
        status = main(["shapes", target, *words])
        out, err = capsys.readouterr()
        return status, out, err

    return show


def out(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def test_each_line_of_an_attention_block_has_the_shapes_of_what_it_binds(shapes):
    source = """
        def attend(
            q: Float[Array, "b n h c"],
            k: Float[Array, "b m h c"],
        ) -> Float[Array, "b n d"]:
            scores = jnp.einsum(
                "bnhc,bmhc->bhnm", q, k
            )
            w = jax.nn.softmax(scores)
            mixed = jnp.einsum("bhnm,bmhc->bnhc", w, k)
            return mixed.reshape(*mixed.shape[:2], -1)
    """
    assert shapes(source) == (
        0,
        out("""
        model.py:5: proved attend: for all sizes; `d` may be any size: only the result says it
            5 | def attend(
            6 |     q: Float[Array, "b n h c"],                  # q: f32[b,n,h,c]
            7 |     k: Float[Array, "b m h c"],                  # k: f32[b,m,h,c]
            8 | ) -> Float[Array, "b n d"]:
            9 |     scores = jnp.einsum(                         # scores: f32[b,h,n,m]
           10 |         "bnhc,bmhc->bhnm", q, k
           11 |     )
           12 |     w = jax.nn.softmax(scores)                   # w: f32[b,h,n,m]
           13 |     mixed = jnp.einsum("bhnm,bmhc->bnhc", w, k)  # mixed: f32[b,n,h,c]
           14 |     return mixed.reshape(*mixed.shape[:2], -1)   # return: f32[b,n,c*h]
        """),
        "",
    )


def test_both_branches_are_shown_and_what_follows_has_either_shape(shapes):
    source = """
        def f(x: Float[Array, "n"], flip: bool) -> Float[Array, "k"]:
            if flip:
                y = x[::-1]
            else:
                y = x[1:]
            return y
    """
    assert notes(shapes(source)[1]) == [
        "x: f32[n]",
        "y: f32[n]",
        "y: f32[n - 1]",
        "return: f32[n - 1] or f32[n]",
    ]


def test_a_loop_tells_the_shape_of_each_turn(shapes):
    source = """
        def f(x: Float[Array, "n"]) -> Float[Array, "k"]:
            for row in (x, x[1:]):
                x = jnp.concatenate([x, row])
            return x
    """
    assert notes(shapes(source)[1]) == [
        "x: f32[n]",
        "row: f32[n] then f32[n - 1]",
        "x: f32[2*n] then f32[3*n - 1]",
        "return: f32[3*n - 1]",
    ]


def test_the_body_of_a_scan_is_shown_as_well(shapes):
    source = """
        def f(x: Float[Array, "n d"]) -> Float[Array, "d"]:
            def step(carry, row):
                total = carry + row
                return total, None
            total, _ = jax.lax.scan(step, x[0], x)
            return total
    """
    assert notes(shapes(source)[1]) == [
        "x: f32[n,d]",
        "carry: f32[d], row: f32[d]",
        "total: f32[d]",
        "return[0]: f32[d]",
        "total: f32[d]",
        "return: f32[d]",
    ]


def test_generators_and_coroutines_are_followed_through_their_turns(shapes):
    source = """
        import asyncio
        from collections.abc import AsyncIterator, Iterator

        def turns(x: Float[Array, "n d"]) -> Iterator[Float[Array, "d"]]:
            while True:
                row = x[0]
                yield row

        async def later(x: Float[Array, "n d"]) -> Float[Array, "d n"]:
            await asyncio.sleep(0)
            return x.T

        async def waits(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
            back = await later(x)
            return back

        async def several(x: Float[Array, "n d"]) -> AsyncIterator[Float[Array, "d n"]]:
            y = await later(x)
            yield y
            yield x

        async def sleeps(x: Float[Array, "n d"]) -> Float[Array, "d n"]:
            await asyncio.sleep(1)
            return x.T
    """
    status, text, _ = shapes(source)
    assert status == 1
    assert notes(text) == [
        *("x: f32[n,d]", "row: f32[d]", "yield: f32[d]"),
        *("x: f32[n,d]", "return: f32[d,n]"),
        *("x: f32[n,d]", "back: f32[d,n]", "return: f32[d,n]"),
        *("x: f32[n,d]", "y: f32[d,n]"),
    ]
    assert "checked turns: the first 3 that it yields; for all sizes" in text
    assert "the return value is not what is annotated: axis 0 is d, not n" in text
    assert "`[1]` of the return value is not what is annotated: axis 0 is n, not d" in text
    assert "skipped sleeps: it waits for what only a running loop brings" in text


def test_a_global_that_a_function_sets_is_shown(shapes):
    source = """
        def f(x: Float[Array, "n d"]) -> Float[Array, "n"]:
            global kept
            kept = x.T
            return kept.sum(0)
    """
    assert notes(shapes(source)[1]) == ["x: f32[n,d]", "kept: f32[d,n]", "return: f32[n]"]


def test_a_transformed_function_is_shown_for_one_example(shapes):
    source = """
        from typedfilter import filter_jit, filter_vmap

        @filter_jit
        @filter_vmap
        def f(x: Float[Array, "n"]) -> Float[Array, ""]:
            total = x.sum()
            return total
    """
    status, text, _ = shapes(source)
    assert (status, notes(text)) == (0, ["x: f32[n]", "total: f32[]", "return: f32[]"])


def test_of_a_model_the_first_arrays_are_shown_with_the_way_to_them(shapes):
    source = """
        def f(p: dict[str, list[Float[Array, "n"]]], x: Float[Array, "n"]) -> Float[Array, "n"]:
            p = {"w": [x] * 4, "b": (x[0], x)}
            return x
    """
    assert notes(shapes(source)[1])[-4:] == [
        'p["w"][0]: f32[n], p["w"][1]: f32[n],',
        'p["w"][2]: f32[n], p["w"][3]: f32[n],',
        "p: 2 more arrays",
        "return: f32[n]",
    ]


def test_a_function_that_raises_is_shown_up_to_the_line_with_the_error_below_it(shapes):
    source = """
        def f(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
            gram = x @ x.T
            rows, columns, depth = gram.shape
            return x
    """
    assert shapes(source) == (
        1,
        out("""
        model.py:5: failed f
            5 | def f(x: Float[Array, "n m"]) -> Float[Array, "n m"]:  # x: f32[n,m]
            6 |     gram = x @ x.T                                     # gram: f32[n,n]
            7 |     rows, columns, depth = gram.shape
              ! ValueError: not enough values to unpack (expected 3, got 2)
            8 |     return x
        """),
        "",
    )


def test_a_wrong_result_is_told_below_its_annotation(shapes):
    source = """
        def f(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
            return x.T
    """
    status, text, _ = shapes(source)
    assert status == 1
    assert [line.strip() for line in text.splitlines() if "!" in line] == [
        "! the return value is not what is annotated: axis 0 is m, not n",
        "! expected: Float[Array, 'n m']",
        "! found: f32[m,n]",
    ]


LOCAL = """
    def f(x: Float[Array, "n m"]) -> Float[Array, "n"]:
        h: Float[Array, "n k"] = x
        g: Float[Array, "k"] = x.sum(1)
        return g
"""


def test_a_local_is_compared_with_its_annotation_and_a_mismatch_told_below(shapes):
    assert shapes(LOCAL) == (
        1,
        out("""
        model.py:5: failed f
            5 | def f(x: Float[Array, "n m"]) -> Float[Array, "n"]:  # x: f32[n,m]
            6 |     h: Float[Array, "n k"] = x                       # h: f32[n,m]
            7 |     g: Float[Array, "k"] = x.sum(1)                  # g: f32[n]
              ! `g` is not what is annotated: axis 0 is n, not k = m
              ! expected: Float[Array, 'k']
              ! found: f32[n]
            8 |     return g                                         # return: f32[n]
        """),
        "",
    )


@pytest.mark.parametrize(("quoted", "status"), [("Float[Array, 'k']", 1), ("Unknown", 0)])
def test_an_annotation_in_quotes_is_compared_if_it_can_be_read(shapes, quoted, status):
    assert shapes(LOCAL.replace('Float[Array, "k"]', f'"{quoted}"'))[0] == status


def test_annotations_of_locals_that_hold_are_no_mistakes_whatever_names_they_bind(shapes):
    assert shapes(LOCAL.replace('g: Float[Array, "k"]', 'g: Float[Array, "n"]'))[0] == 0


def test_a_local_that_is_wrong_at_some_of_the_sizes_that_were_tried_is_a_mistake(shapes):
    source = """
        def f(x: Float[Array, "n"]) -> Float[Array, "k"]:
            y: Float[Array, "3"] = x[:3] if x.shape[0] > 3 else x
            return y
    """
    status, text, _ = shapes(source)
    assert (status, notes(text)[1:]) == (1, ["y: f32[3] or f32[1]", "return: f32[3] or f32[1]"])
    assert "      ! `y` is not what is annotated: axis 0 is 1, not 3\n" in text


def test_the_check_itself_fails_at_the_annotation_of_a_wrong_local(shapes, capsys):
    shapes(LOCAL)
    assert main(["check", "model.py"]) == 1
    assert capsys.readouterr().out == out("""
        model.py:5: failed f
          `g` is not what is annotated: axis 0 is n, not k = m
              7 |     g: Float[Array, "k"] = x.sum(1)
                |        ^^^^^^^^^^^^^^^^^
          expected: Float[Array, 'k']
          found: f32[n]
          where: n is axis 0 of `x`, m is axis 1 of `x`
          for example at: n=3, m=5
        1 failed in 1 file
    """)


def test_a_local_that_holds_a_model_has_dimensions_of_its_own(shapes):
    source = """
        import dataclasses

        @jax.tree_util.register_dataclass
        @dataclasses.dataclass
        class Layer:
            weight: Float[Array, "o i"]

        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            first: Layer = Layer(x[:, None])
            second: tuple[Layer, Float[Array, "n"]] = (Layer(x[None]), x)
            third: Layer = Layer(jnp.outer(x[1:], x))
            return x
    """
    assert shapes(source, target="model.py::f")[0] == 0


def test_what_only_symbols_say_of_a_local_is_no_mistake(shapes):
    source = """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            even = x.shape[0] // 2 * 2 + x.shape[0] % 2
            y: Float[Array, "n"] = jnp.zeros(even)
            return x
    """
    assert shapes(source)[0] == 0


def test_shapes_for_machines(shapes):
    status, text, _ = shapes(LOCAL, "--format", "json")
    assert status == 1
    assert json.loads(text) == {
        "functions": [
            {
                "function": "f",
                "file": "model.py",
                "line": 5,
                "status": "failed",
                "message": "`g` is not what is annotated: axis 0 is n, not k = m",
                "fix": "",
                "lines": [
                    {"line": 5, "shapes": {"x": ["f32[n,m]"]}},
                    {"line": 6, "shapes": {"h": ["f32[n,m]"]}},
                    {"line": 7, "shapes": {"g": ["f32[n]"]}},
                    {"line": 8, "shapes": {"return": ["f32[n]"]}},
                ],
                "remarks": [
                    {
                        "line": 7,
                        "text": "`g` is not what is annotated: axis 0 is n, not k = m\n"
                        "expected: Float[Array, 'k']\nfound: f32[n]",
                    }
                ],
            }
        ],
        "errors": [],
    }


def test_a_page_for_a_browser_escapes_source_and_remarks(shapes, tmp_path):
    source = """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            y = x if "<script>" > "&" else x[1:]
            return {"<b>": y}["<b>"]
    """
    status, text, _ = shapes(source, "--html", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (status, text) == (0, "")
    assert "<script>" not in page
    assert "<b>" not in page
    assert (
        '<td style="white-space:pre">    y = x if &quot;&lt;script&gt;&quot; &gt; '
        "&quot;&amp;&quot; else x[1:]</td><td>y: f32[n]</td></tr>" in page
    )
    assert '<meta name="color-scheme" content="light dark">' in page


def test_comments_that_do_not_fit_the_terminal_go_below(shapes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    source = """
        def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
            a = b = c = d = x
            return a
    """
    assert shapes(source)[1].splitlines()[1:] == [
        '    5 | def f(x: Float[Array, "n"]) -> Float[Array, "n"]:',
        "                               # x: f32[n]",
        "    6 |     a = b = c = d = x  # a: f32[n], b: f32[n],",
        "                               # c: f32[n], d: f32[n]",
        "    7 |     return a           # return: f32[n]",
    ]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("missing.py", "missing.py: there is no such file or folder"),
        ("model.py::g", "model.py::g: there is no annotated function `g` in it"),
        ("model.py", "model.py: there is no annotated function in it"),
    ],
)
def test_a_target_that_does_not_exist_is_one_line_and_status_2(shapes, target, said):
    assert shapes("def f(): ...", target=target) == (2, "", f"typedfilter shapes: {said}\n")


def test_what_the_file_writes_to_stdout_is_not_in_the_answer(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = 'import os\nprint("noise")\nos.write(1, b"noise")\n'
    (tmp_path / "model.py").write_text(HEAD.lstrip() + text + textwrap.dedent(LOCAL))
    main(["shapes", "model.py", "--format", "json"])
    assert json.loads(capfd.readouterr().out)["functions"][0]["function"] == "f"


def test_settings_that_are_not_understood_are_one_line_and_status_2(shapes, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.typedfilter]\nstrict = 3\n")
    status, text, err = shapes(LOCAL)
    assert (status, text) == (2, "")
    assert err == (
        "typedfilter shapes: the settings can't be used: "
        f"{tmp_path / 'pyproject.toml'}: `strict` of [tool.typedfilter] is 3, not true or false\n"
    )


def test_a_function_that_can_not_be_judged_says_why(shapes):
    source = """
        def f(x: Float[Array, "n"], how: object) -> Float[Array, "n"]:
            return x
    """
    status, text, _ = shapes(source)
    assert status == 2
    assert text.startswith("model.py:5: skipped f: ")


def test_a_trace_function_that_was_there_before_comes_back(shapes):
    def before(frame, event, arg):
        return None

    was = sys.gettrace()
    sys.settrace(before)
    try:
        shapes(LOCAL)
        after = sys.gettrace()
    finally:
        sys.settrace(was)
    assert after is before


def notes(text: str) -> list[str]:
    return [line.partition("# ")[2] for line in text.splitlines() if "# " in line]

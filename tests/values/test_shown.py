"""What people see of a model: its text and its HTML, whatever stands in it."""

from __future__ import annotations

import dataclasses
import html.parser
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from typedfilter import Static, pytree_dataclass


@pytree_dataclass
class Layer:
    weight: Any
    activation: Static[Any] = jax.nn.relu


@pytree_dataclass
class Network:
    layers: Any
    name: str = "network"


def network(depth: int) -> Network:
    return Network([Layer(jnp.ones((2, 3))) for _ in range(depth)])


def test_a_model_is_shown_by_dtypes_and_shapes_and_names_of_functions():
    assert repr(Layer(jnp.ones((2, 3)))) == "Layer(weight=f32[2,3], activation=<function relu>)"
    assert str(Layer(jnp.ones(2), jnp.tanh)) == "Layer(weight=f32[2], activation=<function tanh>)"
    assert repr(Layer(np.ones(2), abs)) == "Layer(weight=numpy f64[2], activation=<function abs>)"
    assert repr(Layer(jax.ShapeDtypeStruct((4,), jnp.int8), 3)) == "Layer(weight=i8[4], activation=3)"


def test_a_large_model_takes_as_many_lines_as_it_has_parts():
    assert repr(network(2)) == "\n".join(
        [
            "Network(",
            "  layers=[",
            "    Layer(weight=f32[2,3], activation=<function relu>),",
            "    Layer(weight=f32[2,3], activation=<function relu>)",
            "  ],",
            "  name='network'",
            ")",
        ]
    )


def test_a_repr_of_ones_own_and_fields_without_one_stay_as_they_are():
    @pytree_dataclass
    class Own:
        weight: Any

        def __repr__(self) -> str:
            return "mine"

    @pytree_dataclass
    class Secret:
        weight: Any
        token: Any = dataclasses.field(default="t", repr=False)

    assert repr(Own(1)) == "mine"
    assert "".join(repr(Secret(1)).split()) == "Secret(weight=1)"
    assert repr(pytree_dataclass(repr=False)(type("Bare", (), {}))()).startswith("<")


def test_a_model_is_shown_while_it_is_traced():
    seen: list[str] = []
    jax.jit(lambda model: seen.append(repr(model)))(Layer(jnp.ones(2)))
    assert seen == ["Layer(weight=f32[2], activation=<function relu>)"]


class Balanced(html.parser.HTMLParser):
    """Collects the text, and refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.texts.append(data.strip())


def texts_of(page: str) -> list[str]:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return [text for text in parser.texts if text]


def test_a_notebook_shows_a_tree_with_counts_of_parameters_and_bytes():
    shown: Any = network(2)
    assert texts_of(shown._repr_html_()) == [
        "Network",
        "12 parameters, 48 B",
        "layers: list",
        "12 parameters, 48 B",
        "[0]: Layer",
        "6 parameters, 24 B",
        "weight = f32[2,3]",
        "activation = <function relu>",
        "[1]: Layer",
        "6 parameters, 24 B",
        "weight = f32[2,3]",
        "activation = <function relu>",
        "name = 'network'",
    ]


def test_what_a_field_holds_is_text_to_the_page_and_no_markup():
    shown: Any = Network({"<b>": jnp.ones(())}, "<script>alert(1)</script>")
    page = shown._repr_html_()
    assert "<script>" not in page
    assert "name = '<script>alert(1)</script>'" in texts_of(page)


def test_modules_of_other_libraries_inside_can_be_opened_too():
    shown: Any = Network([eqx.nn.Linear(2, 3, key=jax.random.key(0))])
    assert "[0]: Linear" in texts_of(shown._repr_html_())
    assert "weight = f32[3,2]" in texts_of(shown._repr_html_())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy, for treescope
def test_treescope_is_given_the_fields():
    treescope = pytest.importorskip("treescope")
    with treescope.active_autovisualizer.set_scoped(None):
        text = treescope.render_to_text(Layer(1.5, None))
    assert "Layer(" in text.replace("\n", "")
    assert "weight=1.5" in text.replace("\n", "")

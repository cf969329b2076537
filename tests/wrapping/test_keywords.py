"""Keywords that a transform does not have: the annotation to write instead, or what was meant."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

from typedfilter import filter_checkpoint, filter_grad, filter_jit, filter_pmap, filter_vmap
from typedfilter.errors import VmapAxisError

STATIC = "annotate the parameter as Static[...]"
DONATE = 'annotate the parameter as Donate[...], or pass donate="all"'
DIFF = "annotate what is differentiated as Diff[...]; without it, that is the first argument"
REFUSED: dict[str, tuple[Callable[..., Any], str, str]] = {
    "jit static_argnums": (filter_jit, "static_argnums", STATIC),
    "jit static_argnames": (filter_jit, "static_argnames", STATIC),
    "jit donate_argnames": (filter_jit, "donate_argnames", DONATE),
    "pmap static_broadcasted_argnums": (filter_pmap, "static_broadcasted_argnums", STATIC),
    "grad argnums": (filter_grad, "argnums", DIFF),
    "checkpoint static_argnums": (filter_checkpoint, "static_argnums", STATIC),
    "jit, misspelt": (filter_jit, "donat", "did you mean 'donate'?"),
    "vmap, misspelt": (filter_vmap, "in_axis", "did you mean 'in_axes'?"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("decorates", [False, True])
def test_a_keyword_of_jaxs_is_answered_with_what_to_write(case, decorates):
    transform, name, cure = REFUSED[case]
    with pytest.raises(TypeError) as caught:
        transform(*([] if decorates else [jnp.sin]), **{name: 0})
    assert str(caught.value) == f"{transform.__name__}() has no option {name!r}\n  fix: {cure}"


def test_a_type_error_of_the_users_own_stays():
    def fails(x):
        raise TypeError("unexpected keyword argument 'static_argnums'")

    with pytest.raises(TypeError, match=r"^unexpected keyword argument"):
        filter_jit(fails)(1)


class Mute(TypeError):
    """A class of the user's own, which can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_of_a_type_error_of_a_class_of_the_users_own_nothing_is_asked():
    def fails(x):
        raise Mute

    for transform in (filter_jit, filter_vmap, filter_checkpoint):
        with pytest.raises(Mute):
            transform(fails)(x=jnp.ones(3))


def test_the_call_of_a_wrapper_alone_keeps_its_function():
    call = filter_jit(lambda x: x + 1).__call__
    gc.collect()
    assert (call(jnp.ones(3)) == 2).all()


def test_a_misspelt_parameter_in_an_option_is_answered_with_what_was_meant():
    with pytest.raises(VmapAxisError, match="has no parameter 'weigths'") as caught:
        filter_vmap(lambda weights: weights, in_axes={"weigths": 0})
    assert caught.value.fix == "did you mean 'weights'?"

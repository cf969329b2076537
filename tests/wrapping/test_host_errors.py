"""What a callback raises arrives as itself, however it came to be raised there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from typedfilter import filter_jit, filter_pure_callback

X = jnp.arange(3.0)


class Refused(Exception):
    """An error of the user's own."""


def refuse(number: Any) -> float:
    raise Refused(f"at {float(number)}")


def in_a_generator(x: Any) -> Any:
    return sum(refuse(number) for number in x)


def in_a_generator_itself(x: Any) -> Any:
    def numbers() -> Iterator[float]:
        yield 1.0
        raise Refused("at 0.0")

    return sum(numbers())


def in_a_generator_of_a_generator(x: Any) -> Any:
    def numbers() -> Iterator[float]:
        yield from (refuse(number) for number in x)

    return list(numbers())


def in_a_context_manager(x: Any) -> Any:
    @contextlib.contextmanager
    def watched() -> Generator[None]:
        yield
        refuse(0)

    with watched():
        return x


def in_a_coroutine(x: Any) -> Any:
    async def run() -> float:
        await asyncio.sleep(0)
        return refuse(0)

    return asyncio.run(run())


def in_another_thread(x: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(refuse, 0).result()


ONE = Refused("at 0.0")


def one_error_again_and_again(x: Any) -> Any:
    raise ONE


KINDS: list[Callable[[Any], Any]] = [
    in_a_generator,
    in_a_generator_itself,
    in_a_generator_of_a_generator,
    in_a_context_manager,
    in_a_coroutine,
    in_another_thread,
    one_error_again_and_again,
]


@pytest.mark.parametrize("around", [lambda f: f, filter_jit], ids=["eager", "jit"])
@pytest.mark.parametrize("callback", KINDS)
def test_an_error_arrives_as_itself_wherever_it_is_raised(callback: Any, around: Any):
    call = around(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=x))
    for _ in range(2):
        with pytest.raises(Refused, match=r"^at 0\.0$") as caught:
            jax.block_until_ready(call(X))
        raised = caught.traceback[-1].frame.code.raw
        assert "Refused" in raised.co_names or "ONE" in raised.co_names
        assert callback.__name__ in [entry.name for entry in caught.traceback]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Nothing can be set on it, by Python code."""

    code: int


def raise_frozen(x: Any) -> Any:
    raise Frozen(3)


@pytest.mark.parametrize("around", [lambda f: f, filter_jit], ids=["eager", "jit"])
def test_an_error_that_lets_nothing_be_set_arrives_as_itself(around: Any):
    call = around(lambda x: filter_pure_callback(raise_frozen, x, result_shape_dtypes=x))
    with pytest.raises(Frozen) as caught:
        jax.block_until_ready(call(X))
    assert caught.value == Frozen(3)
    assert "raise Frozen(3)" in "".join(traceback.format_tb(caught.value.__traceback__)[-1:])


def test_an_error_whose_text_nobody_can_write_arrives_as_itself():
    class Unwritten(Exception):
        def __str__(self) -> str:
            return "\udc80"  # JAX writes the text as UTF-8, and ends the process where that fails

    def callback(x: Any) -> Any:
        raise Unwritten

    with pytest.raises(Unwritten):
        filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=x))(X)

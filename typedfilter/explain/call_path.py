"""Which of the three ways a call of a compiled function takes, and why.

The ways are: directly into `jax.jit`, where annotations say everything; by the classes of arguments,
where they don't; and with a pytree taken apart, where it may mix arrays with other leaves. Reads what the
engine decides; decides nothing itself. For people: `explain` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typedfilter._compiling.modes import Mode
from typedfilter._compiling.stages import site_of
from typedfilter._wrapping.wrapper import BoundWrapper, Wrapper


def path_of(wrapper: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> tuple[str, str]:
    """The name of the way that calls take, and the reason.

    Without arguments, as far as annotations tell.

    Returns:
        `("direct", ...)`, `("by type", ...)` or `("split", ...)`.
    """
    given = (*args, *(kwargs or {}).values())
    if isinstance(wrapper, BoundWrapper):
        wrapper, args = wrapper.__func__, (wrapper.__self__, *args)
    assert isinstance(wrapper, Wrapper)
    site, bound_args, bound_kwargs = site_of(wrapper)
    engine = site.lone_engine()  # to look at: the names in annotations may still be defined
    params = engine.plan.params
    left_open = [param.name for param in params if param.hint.is_open]
    if not left_open:
        return "direct", "every argument is an array or static by its annotation"
    if not given:
        reason = "the signature does not say that they hold arrays only"
        return "by type", f"the classes of {_names(left_open)} decide: {reason}"
    pattern, positional, keyword = engine.prepare((*bound_args, *args), bound_kwargs | (kwargs or {}))
    names = engine.plan.bind_names(len(positional), tuple(keyword))
    mixed = [name for name, mode in zip(names, pattern.modes, strict=True) if mode is Mode.PACKED]
    if mixed:
        fix = "a pytree_dataclass with arrays, and Static fields for the rest, is not taken apart"
        return "split", f"{_names(mixed)} may mix arrays with other leaves: {fix}"
    return "by type", f"the classes of {_names(left_open)} decide, one look-up a call"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)

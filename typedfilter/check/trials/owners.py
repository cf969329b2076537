"""Whose a size is, where instances have sizes of their own; and which one stands where another is meant.

Knows names and the instances that they belong to; knows nothing of how it is found which are equal.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TypeAlias

from typedfilter._reading.dims import Size
from typedfilter._reading.text import show
from typedfilter.check.inputs import types
from typedfilter.check.inputs.nodes import RecordNode, walk
from typedfilter.check.inputs.place import scope_of
from typedfilter.check.inputs.signature import Signature, foreign
from typedfilter.check.inputs.values import NotedNode
from typedfilter.check.trials.compare import MismatchError

Owned: TypeAlias = Mapping[str, tuple[str, str]]
"""By name: the instance whose it is, and what it is called there."""


def own_names(free: Iterable[str], apart: Iterable[str]) -> Owned:
    """The free names that belong to an instance which has names of its own."""
    scopes = sorted(map(scope_of, apart), key=len, reverse=True)
    found = ((name, scope) for name in free for scope in scopes if name.lstrip("_").startswith(f"{scope}_"))
    owned: dict[str, tuple[str, str]] = {}
    for name, scope in found:
        owned.setdefault(name, (scope, name.lstrip("_").removeprefix(f"{scope}_")))
    return owned


def of_unsaid_sizes(signature: Signature) -> frozenset[str]:
    """Instances whose sizes no signature says: of others' classes, of one chosen for an abstract one."""
    nodes = [node for parameter in signature.parameters for node in walk(parameter.node)]
    inner = [node.inner for node in nodes if isinstance(node, NotedNode)]
    chosen = (node.label for node in inner if isinstance(node, RecordNode))
    return frozenset([*foreign(signature), *chosen])


def foreign_names(signature: Signature, own: Owned) -> Container[str]:
    """The names of axes in instances of other people's classes, which no signature means."""
    scopes = set(map(scope_of, foreign(signature)))
    return {name for name, (scope, _) in own.items() if scope in scopes}


def is_turned(equal: Mapping[str, str], meant: Owned) -> bool:
    """Whether a size of the signature is one of an instance that has another one of that name.

    That is a matrix the wrong way round, unless it can be the size of that name of a second instance: what
    the decoder of two layers takes is what the encoder returns.
    """
    for name, key in equal.items():
        instance, called = meant.get(name, ("", key))
        if key in meant or called == key or (instance, key) not in meant.values():
            continue
        others = (n for n, owner in meant.items() if owner[1] == key and owner[0] != instance)
        if not any(_may_be(other, key, equal, meant) for other in others):
            return True
    return False


def _may_be(name: str, key: str, equal: Mapping[str, str], own: Owned) -> bool:
    """Whether a size of an instance can be this size of the signature beside what is equal already."""
    root = equal.get(name, name)
    if root != key and root not in own:
        return False
    same = [n for n, other in equal.items() if other in (root, key)]
    instances = [own[n][0] for n in {*same, name, root} if n in own]
    return len(set(instances)) == len(instances)


def check_turned(signature: Signature, sizes: Mapping[str, Size], bound: Mapping[str, Size]) -> None:
    """See that no size of an instance is what the result alone calls as another size of it.

    Args:
        signature: what was called.
        sizes: what was given, by name.
        bound: the same, and what the result says.

    Raises:
        MismatchError: one is.
    """
    own = own_names(sizes, signature.apart) if signature.apart else {}
    strange = foreign_names(signature, own)
    meant = {name: owner for name, owner in own.items() if name not in strange}
    for called in _only_returned(signature, bound) if meant else ():
        if called not in sizes and (name := _turned_to(called, bound[called], sizes, meant)):
            why = f"{called} is {name}"
            raise MismatchError("", show(signature.returns.hint), f"{name} for {called}", why)


def _turned_to(called: str, size: Size, sizes: Mapping[str, Size], meant: Owned) -> str:
    """The size of an instance that the result calls so, if it can't be what others call so; or nothing."""
    first = {name: next(other for other in meant if _same(sizes[other], sizes[name])) for name in meant}
    same = [name for name in meant if _same(sizes[name], size)]
    if not same or any(meant[name][1] == called for name in same):
        return ""
    equal = {name: called if other in same else other for name, other in first.items() if name != other}
    equal |= dict.fromkeys(same, called)
    return same[0] if is_turned(equal, meant) else ""


def _same(one: Size, other: Size) -> bool:
    return bool(one == other)


def _only_returned(signature: Signature, bound: Mapping[str, Size]) -> Iterator[str]:
    for array in types.arrays_in(signature.returns):
        yield from (dim.text for dim in array.dims if dim.kind == "named" and dim.text in bound)

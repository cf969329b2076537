"""Names that an instance shares with the arguments beside it: whether a result hangs on that.

While a program runs, each instance binds its names apart. A proof takes names that are the same for the same
size, as everybody reads them; what it says would be wrong where a caller may pass another size, and the
body does not mind, is said with the verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from typedfilter._reading.fields import dims_of
from typedfilter.check.inputs.layout import layout_of
from typedfilter.check.inputs.nodes import ArrayNode, Node, RecordNode, children
from typedfilter.check.inputs.signature import Signature
from typedfilter.check.trials import trial
from typedfilter.check.trials.cases import symbolic_trial, with_mapped
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.problem import WrongResult


def shared_names(signature: Signature) -> dict[str, list[str]]:
    """By instance: its names that an argument beside it has too (or `self`), and the result."""
    inside: dict[str, dict[str, None]] = {}
    for parameter in signature.parameters:
        for owner, name in _names(parameter.node, ""):
            inside.setdefault(owner, {})[name] = None
    beside = inside.pop("", {})
    promised = {dim.text: None for dim in dims_of(signature.returns) if dim.kind == "named"}
    # What no argument has is said by `self`.
    receiver = signature.parameters[0].name if signature.subject.kind in ("method", "property") else ""
    own = inside.get(receiver, {}).keys() - beside.keys()
    found: dict[str, list[str]] = {}
    for owner, names in inside.items():
        known = beside.keys() if owner == receiver else beside.keys() | own
        shared = [name for name in names if name in promised and name in known]
        if shared and owner not in signature.apart:
            found[owner] = shared
    return found


def _names(node: Node, owner: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ArrayNode):
        yield from ((owner, dim.text) for dim in node.dims if dim.kind == "named")
    for child in children(node):
        yield from _names(child, node.label if isinstance(node, RecordNode) else owner)


def hangs_on(tried: Tried, apart: Signature) -> bool:
    """Whether a good case is good no more where its instances have names of their own, as in `apart`."""
    try:
        layout = layout_of(apart, tried.layout.case)
        plan = trial.planned(apart, layout)
        names = with_mapped(layout.names, plan)
        problem = symbolic_trial(plan, names, apart.subject.root, dataclasses.replace(tried, trials=[]))
    except Exception:  # what can't be made so says nothing
        return False
    return isinstance(problem, WrongResult)

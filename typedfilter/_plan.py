"""A callable and its annotations in, one frozen `Plan` out. Every conflict check lives here.

Floor 2. Knows signatures and hints; knows nothing of values, leaves or JAX's transforms.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from typedfilter._hints import Hint


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter of the user's function."""

    name: str
    kind: Any  # inspect.Parameter.kind
    hint: Hint
    default: Any = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the signature of one callable says, resolved once."""

    function: str  # the qualified name, for messages
    params: tuple[Param, ...]
    returns: Hint
    signature: inspect.Signature
    has_signature: bool = True  # False for builtins without one: then (*args, **kwargs), all AUTO
    complete: bool = True  # False while a name may still be defined later: resolve again at the first call

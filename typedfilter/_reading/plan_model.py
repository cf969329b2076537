"""What a `Plan` is: the parameters of a callable, each with its hint, and how a call finds them.

Floor 2. Knows how Python binds arguments; knows nothing of how a plan is made.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any

from typedfilter._reading.hints import UNANNOTATED, Hint

__all__ = ["POSITIONAL", "Param", "Plan"]

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter of the user's function."""

    name: str
    kind: Any  # inspect.Parameter.kind
    hint: Hint
    default: Any = Parameter.empty

    @property
    def variadic(self) -> bool:
        """Whether this is `*args` or `**kwargs`."""
        return self.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the signature of one callable says, resolved once."""

    function: str  # the qualified name, for messages
    params: tuple[Param, ...]
    returns: Hint
    signature: Signature
    has_signature: bool = True  # False for builtins without one: then (*args, **kwargs), all AUTO
    complete: bool = True  # False while a name may still be defined later: resolve again at the first call
    kept: Mapping[str, Any] = dataclasses.field(
        default_factory=dict[str, Any]
    )  # of a plan that is not complete

    @functools.cached_property
    def positionals(self) -> tuple[Param, ...]:
        """The parameters that can be passed by position, `*args` not among them."""
        return tuple(param for param in self.params if param.kind in POSITIONAL)

    @functools.cached_property
    def var_positional(self) -> Param | None:
        """`*args`."""
        return self._only(Parameter.VAR_POSITIONAL)

    @functools.cached_property
    def var_keyword(self) -> Param | None:
        """`**kwargs`."""
        return self._only(Parameter.VAR_KEYWORD)

    def positional(self, index: int) -> Param:
        """The parameter that takes the positional argument `index`.

        Raises:
            TypeError: there are not that many.
        """
        if index < len(self.positionals):
            return self.positionals[index]
        if self.var_positional is None:
            takes = len(self.positionals)
            raise TypeError(
                f"{self.function}() takes {takes} positional arguments but {index + 1} were given"
            )
        return self.var_positional

    def keyword(self, name: str) -> Param | None:
        """The parameter that takes the keyword argument `name`, `**kwargs` included; `None` if none does."""
        return self._keywords.get(name, self.var_keyword)

    def diff_params(self) -> tuple[Param, ...]:
        """The parameters that are marked `Diff`, in order."""
        return tuple(param for param in self.params if param.hint.diff is True)

    def bind_names(self, nargs: int, kwnames: Iterable[str] = ()) -> list[str]:
        """For messages: what each argument of a call is called, `args[2]` for a variadic one."""
        fixed = len(self.positionals)
        rest = self.var_positional.name if self.var_positional is not None else "args"
        names = [self.positionals[i].name if i < fixed else f"{rest}[{i - fixed}]" for i in range(nargs)]
        return [*names, *kwnames]

    def without_first(self) -> Plan:
        """The plan of a method when it is bound: without its first positional parameter, if it has one."""
        return self._bound

    def with_first(self, name: str) -> Plan:
        """This plan with a parameter in front that is not annotated and passed by position."""
        first = Parameter(name, Parameter.POSITIONAL_ONLY)
        signature = self.signature.replace(parameters=[first, *self.signature.parameters.values()])
        params = (Param(name, first.kind, UNANNOTATED), *self.params)
        return dataclasses.replace(self, params=params, signature=signature)

    def with_signature(self, signature: Signature) -> Plan:
        """This plan for a signature with some of its parameters, of other kinds or with other defaults."""
        hints = {param.name: param.hint for param in self.params}
        left = signature.parameters.values()
        params = tuple(Param(param.name, param.kind, hints[param.name], param.default) for param in left)
        return dataclasses.replace(self, params=params, signature=signature)

    @functools.cached_property
    def _bound(self) -> Plan:
        if not self.positionals:
            return self
        return self.with_signature(
            self.signature.replace(parameters=list(self.signature.parameters.values())[1:])
        )

    @functools.cached_property
    def _keywords(self) -> dict[str, Param]:
        kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        return {param.name: param for param in self.params if param.kind in kinds}

    def _only(self, kind: Any) -> Param | None:
        return next((param for param in self.params if param.kind is kind), None)

"""Names in an annotation that is a string: where they are looked up, and what stands in for a missing one.

Knows Python's scoping rules; knows nothing of what an annotation means. A `Scope` is made for one
resolution and dropped after it: it holds the locals of other people's frames.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import inspect
import linecache
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ForwardRef, Union, get_origin

import jaxtyping

from typedfilter._reading.dims import PARSING, parsed
from typedfilter._reading.wrappers import unwrapped
from typedfilter.annotations import MARKER_NAMES
from typedfilter.errors import AnnotationError

_ATTRIBUTE = "<attribute>"  # not an identifier: no name in an annotation can be it
_UNREADABLE = "correct the annotation; names that exist only for type checkers may be used, but not called"
_NO_EXPRESSION = "correct the annotation: it is no expression of Python's"
_OUTERMOST = "correct the annotation; a marker goes around all of it, as in Donate[Float[Array, 'n']]"


def _as_written_right(text: str) -> str:
    """How to write an array whose dimensions are no single text; empty where that is not what is wrong."""
    for node in ast.walk(parsed(text)):
        if not isinstance(node, ast.Subscript):
            continue
        name = ast.unparse(node.value).rpartition(".")[2]
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Array":
            dtype, array, dims = "Float", ast.unparse(node.value), items
        elif hasattr(getattr(jaxtyping, name, None), "dtypes"):
            dtype, array, dims = ast.unparse(node.value), ast.unparse(items[0]), items[1:]
        else:
            continue
        values = [leaf.value for dim in dims for leaf in ast.walk(dim) if isinstance(leaf, ast.Constant)]
        words = " ".join(str(value) for value in values).replace(",", " ").split()
        right = f"{dtype}[{array}, '{' '.join(words) or '...'}']"
        if right != ast.unparse(node):
            return f"write {right}: all dimensions in one text, with spaces between"
    return ""


class Unknown(type):
    """The class of placeholders: an unknown name is a class without instances, named as it was written."""

    def __new__(cls, text: str) -> Unknown:
        return super().__new__(cls, text, (), {"__module__": __name__})

    def __init__(cls, text: str) -> None:
        super().__init__(text, (), {})

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NameError(f"name {cls.__name__!r} is not defined")

    def __getitem__(cls, item: Any) -> Any:
        return types.GenericAlias(cls, item)

    def __or__(cls, other: Any) -> Any:
        return Union[cls, other]  # noqa: UP007 (`|` would be this very method)

    def __ror__(cls, other: Any) -> Any:
        return Union[other, cls]  # noqa: UP007 (`|` would be this very method)


def _attribute(owner: Any, name: str, text: str) -> Any:
    # A module may lack, at run time, what its stub declares: `jax.Foo` is then as unknown as `Foo`.
    if isinstance(owner, Unknown):
        return Unknown(text)
    try:
        return getattr(owner, name)
    except AttributeError:
        return Unknown(text)


class _Attributes(ast.NodeTransformer):
    """Sends `a.b` through `_attribute`. Bodies of lambdas and comprehensions run later, with real names."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        texts: list[ast.expr] = [ast.Constant(node.attr), ast.Constant(ast.unparse(node))]
        return ast.Call(ast.Name(_ATTRIBUTE, ast.Load()), [owner, *texts], [])

    def _as_it_is(self, node: ast.AST) -> ast.AST:
        return node

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _as_it_is  # noqa: N815


class Scope:
    """The namespaces in which the names of one function's or class's annotations are found."""

    def __init__(
        self,
        *namespaces: Mapping[str, Any],
        module: dict[str, Any] | None = None,
        borrowed: Mapping[str, Any] | None = None,
    ) -> None:
        """`borrowed` are locals of enclosing frames, which will be gone at the next resolution."""
        self._namespaces = namespaces
        self._module: dict[str, Any] = {} if module is None else module
        self._borrowed: Mapping[str, Any] = borrowed or {}
        self.used: dict[str, Any] = {}  # what was found in `borrowed`

    @classmethod
    def of_function(
        cls, fn: Callable[..., Any], owner: type | None = None, kept: Mapping[str, Any] | None = None
    ) -> Scope:
        """The names that `fn` sees; `owner` is the class that it is a method of, `kept` a former `used`."""
        fn = unwrapped(fn)
        module = getattr(fn, "__globals__", None)
        if module is None:  # a builtin, or a callable object: its module is the best there is
            module = _module_of(fn)
        qualname = getattr(getattr(fn, "__code__", None), "co_qualname", "")
        owner = owner or _class_of(qualname, module)
        outer = {} if owner is None else {**_type_params(owner), **vars(owner)}
        borrowed = {**_enclosing_locals(qualname, module, fn), **(kept or {})}
        return cls(_type_params(fn), _closure(fn), outer, module=module, borrowed=borrowed)

    @classmethod
    def of_class(cls, owner: type) -> Scope:
        """The names that the body of the class `owner` sees."""
        module = _module_of(owner)
        borrowed = _enclosing_locals(owner.__qualname__, module, owner)
        own = {owner.__name__: owner}  # a class of a function may name itself, and is in no namespace
        return cls(_type_params(owner), vars(owner), own, module=module, borrowed=borrowed)

    def find(self, name: str) -> Any:
        """What `name` stands for; a placeholder where nothing has that name."""
        for namespace in self._namespaces:
            if name in namespace:
                return namespace[name]
        if name in self._borrowed:
            self.used[name] = self._borrowed[name]
            return self.used[name]
        if name in self._module:
            return self._module[name]
        return vars(builtins).get(name) or Unknown(name)  # a falsy builtin is a keyword, and no name

    def evaluate(self, text: str) -> Any:
        """The object that `text` denotes, with a placeholder for each name that is not found.

        Raises:
            AnnotationError: `text` is no expression, or evaluating it raised.
        """
        try:
            with PARSING:
                tree = ast.fix_missing_locations(_Attributes().visit(_expression(text)))
                code = compile(tree, "<annotation>", "eval")
            # Real globals: a lambda in the metadata (beartype's validators) looks names up when called.
            return eval(code, self._module, _Names(self))
        except Exception as error:
            problem = f"has an annotation that can't be read: {text!r}"
            if isinstance(error, AnnotationError):  # VmapAxis["x"]
                raise AnnotationError(problem, actual=error.problem, fix=error.fix) from error
            found = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
            inside = isinstance(error, TypeError) and any(name in text for name in MARKER_NAMES)
            fix = _OUTERMOST if inside else _UNREADABLE
            if not isinstance(error, SyntaxError | NameError):
                fix = _as_written_right(text) or fix
            fix = _NO_EXPRESSION if isinstance(error, SyntaxError) else fix
            raise AnnotationError(problem, actual=found, fix=fix) from error

    def mentions(self, name: str) -> bool:
        """Whether the source of the module defines or imports `name`: under `if TYPE_CHECKING`, say."""
        lines = "".join(linecache.getlines(str(self._module.get("__file__", ""))))
        bound = (
            rf"(?m)^\s*(from .*import .*|import .*|class |def |type |\w.* as )\b{name}\b|^\s*{name}\s*[,:=]"
        )
        return re.search(bound, lines) is not None


def meant(name: str) -> str | None:
    """The marker that a name is a slip of, if it is close to one."""
    return next(iter(difflib.get_close_matches(name.rpartition(".")[2], MARKER_NAMES, 1, 0.8)), None)


def home_of(reference: ForwardRef) -> Mapping[str, Any] | None:
    """The names of the module whose alias holds this very reference: it means what it means there.

    Typing does not say where an alias was made, and `optax.OptState` was made in chex. So it is a module in
    which the name exists, and among whose values this reference is.
    """
    name = reference.__forward_arg__
    for module in list(sys.modules.values()):
        names: dict[str, Any] = getattr(module, "__dict__", {})
        if name in names and any(_holds(value, reference) for value in [*names.values()]):
            return names
    return None


def _holds(value: Any, reference: ForwardRef) -> bool:
    if value is reference:
        return True
    args = getattr(value, "__args__", ()) if get_origin(value) is not None else ()
    return any(_holds(arg, reference) for arg in args)


class _Names(Mapping[str, Any]):
    """A scope as the locals of `eval`. It has every name, so that a missing one is no NameError."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, name: str) -> Any:
        return _attribute if name == _ATTRIBUTE else self._scope.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def annotations_of(owner: Any) -> Mapping[str, Any]:
    """The annotations that a class or function has itself, as written; those of a base don't count."""
    if sys.version_info >= (3, 14):  # evaluated late there; what fails stays a forward reference
        import annotationlib

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def _expression(text: str) -> ast.Expression:
    text = text.strip()
    if text.startswith("*"):  # `*args: *Ts` is an expression only inside a tuple
        text = f"({text},)[0]"
    return parsed(text)


def _module_of(owner: Any) -> dict[str, Any]:
    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    return {} if module is None else vars(module)


def _type_params(owner: Any) -> dict[str, Any]:
    return {param.__name__: param for param in getattr(owner, "__type_params__", ())}


def _closure(fn: Any) -> dict[str, Any]:
    cells = getattr(fn, "__closure__", None) or ()
    names = fn.__code__.co_freevars if cells else ()
    found: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet: a forward reference
            continue
    return found


def _class_of(qualname: str, module: Mapping[str, Any]) -> type | None:
    """The class whose body defines `qualname`, if it can be reached from its module."""
    path = qualname.split(".")[:-1]
    if not path or "<locals>" in path:
        return None
    found: Any = module.get(path[0])
    for name in path[1:]:
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _enclosing_locals(qualname: str, module: Mapping[str, Any], made: Any) -> dict[str, Any]:
    """The locals of running functions and class bodies in which `made`, so named, is being defined."""
    parts = qualname.split(".")
    prefixes = {".".join(parts[:n]).removesuffix(".<locals>") for n in range(1, len(parts))}
    found: dict[str, Any] = {}
    frame = inspect.currentframe() if prefixes else None
    while frame is not None:
        if frame.f_globals is module and frame.f_code.co_qualname in prefixes:
            outer = _locals_of(frame)
            if not _is_another_call(frame, outer, parts, made):
                found = {**outer, **found}  # inner frames win
        frame = frame.f_back
    return found


def _is_another_call(
    frame: types.FrameType, found: Mapping[str, Any], parts: Sequence[str], made: Any
) -> bool:
    """Whether a frame is of another call of the function that defined `made`: its names mean other things.

    It shows where the frame has something else that was made by the same code, or has not come so far yet.
    """
    inside = [part for part in parts[frame.f_code.co_qualname.count(".") + 1 :] if part != "<locals>"]
    if not inside:
        return False
    own: Any = found.get(inside[0])
    for part in inside[1:]:
        own = inspect.getattr_static(own, part, None) if isinstance(own, type) else None
    code = getattr(made, "__code__", None)
    if own is None:
        if code is None or len(inside) > 1 or inside[0] in found:
            return False
        return frame.f_lineno < int(code.co_firstlineno)
    other = unwrapped(getattr(own, "__func__", own))
    if isinstance(made, type):
        return isinstance(other, type) and other is not made and other.__qualname__ == made.__qualname__
    return other is not made and getattr(other, "__code__", None) is code


def _locals_of(frame: types.FrameType) -> dict[str, Any]:
    """The locals of a frame that is running, so that asking for them keeps nothing alive.

    Before Python 3.13 a frame keeps the dictionary that it answers with, and in it whatever the function
    drops afterwards: the first parameters of a training loop, say. So it is emptied, unless somebody else
    has it: `locals()` gives out the same one.
    """
    answer = frame.f_locals
    found = dict(answer)
    is_function = frame.f_code.co_flags & inspect.CO_OPTIMIZED  # that of a class body is the namespace itself
    if sys.version_info < (3, 13) and is_function and sys.getrefcount(answer) <= _UNSHARED:
        answer.clear()
    return found


_UNSHARED = 3  # the frame, the variable, and the argument of getrefcount

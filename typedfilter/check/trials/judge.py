"""The verdict on one function, in words: what is judged at all, and the `Result` that says what was found.

How a verdict is reached is `verdict`'s; where a source line is, `report.source`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from typedfilter._reading.dims import names_in
from typedfilter._reading.fields import dims_of, has_models
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._shapes.unevaluated import explain_name
from typedfilter.check.inputs import classes, layout, types
from typedfilter.check.inputs.bare import as_meant
from typedfilter.check.inputs.signature import of_class
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.report import source
from typedfilter.check.report.results import Result, Span, Status
from typedfilter.check.trials.attempts import verdict_on
from typedfilter.check.trials.driven import TURNS, is_driven, yields
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.meshes import Axes
from typedfilter.check.trials.problem import Mismatch, WrongLocal
from typedfilter.check.trials.subject import Subject, without_checkers
from typedfilter.check.trials.verdict import MOST_TRIALS, Verdict
from typedfilter.errors import AnnotationError

IGNORED = "ignored"  # what the message of a function begins with that is skipped on request


def is_annotated(subject: Subject) -> bool:
    """Whether the signature of a function says a shape, so that there is something to prove.

    A function that takes models and returns no arrays does something with them (saves them, prints them):
    it is not run.
    """
    try:
        plan = plan_of(subject.root)
    except AnnotationError:
        return True  # what is wrong with it is to be reported
    own = [p.hint.kind for p in plan.params if p.hint.annotated]
    if any(map(types.says_shape, (*own, plan.returns.kind))):
        return True
    returned = of_class(plan.returns, subject.cls).kind
    return any(True for _ in types.arrays_in(returned))


def judge(subject: Subject, keys: bool = True, axes: Axes = ()) -> Result:
    """The verdict on a function; with `keys`, on the random keys that it uses, too."""
    return judged(subject, keys, axes)[0]


def judged(subject: Subject, keys: bool = True, axes: Axes = ()) -> tuple[Result, Verdict | None]:
    """The verdict on a function in words, and what was tried; None where nothing could be.

    Args:
        subject: the function.
        keys: whether the random keys that it uses are looked at.
        axes: those of the mesh that it is traced under where it needs one.
    """
    where = source.function_at(subject.file, subject.line, subject.root.__name__)
    base = Result(subject.name, subject.file, where.line if where else subject.line, "skipped", "")
    reason = _not_judged(subject, where)
    if reason:
        return dataclasses.replace(base, message=reason), None
    try:
        plan = plan_of(subject.root)
    except AnnotationError as error:
        unread = dataclasses.replace(base, status="failed", message=str(error))
        return _of_bare(subject, keys, axes, unread, error)
    if unbound := _unbound(subject, plan):
        return dataclasses.replace(base, status="failed", message=str(unbound)), None
    try:
        verdict = _in_own_words(subject, plan, verdict_on(subject, plan, keys, axes), axes)
    except UnbuildableError as problem:
        return dataclasses.replace(base, message=problem.reason, fix=problem.fix), None
    except AnnotationError as error:
        status: Status = "skipped" if _is_told_elsewhere(error, subject) else "failed"
        return dataclasses.replace(base, status=status, message=str(error)), None
    return _result(base, verdict, where), verdict


def _unbound(subject: Subject, plan: Plan) -> AnnotationError | None:
    """What is wrong with a result whose annotation computes with a name that nothing can bind.

    None where instances may bind it, whose fields are those of any subclass.
    """
    given = [p.hint for p in plan.params]
    closed = not any(has_models(hint.kind) or hint.unresolved for hint in (*given, plan.returns))
    if subject.cls is not None or not closed or classes.examples_of(subject.root):
        return None
    dims = [dim for hint in given for dim in dims_of(hint.kind)]
    names = [
        name
        for dim in dims
        if dim.kind == "expression" and "{" not in dim.text
        for name in names_in(dim.text)
    ]
    names += [dim.text for dim in (*dims, *dims_of(plan.returns.kind)) if dim.kind == "named"]
    bound = list(dict.fromkeys(names))
    for dim in dims_of(plan.returns.kind):
        computed = dim.kind == "expression" and "{" not in dim.text
        for name in names_in(dim.text) if computed else ():
            if name not in bound:
                written = plan.returns.annotation
                return explain_name(name, bound, plan.counts, plan.function, "return", written)
    return None


def _in_own_words(subject: Subject, plan: Plan, verdict: Verdict, axes: Axes) -> Verdict:
    """The verdict without other people's checks, where those have refused something: it says more."""
    inner = without_checkers(subject) if verdict.status == "failed" else None
    if inner is None:
        return verdict
    own = verdict_on(inner, plan, False, axes)
    return own if own.status == "failed" else verdict


def _is_told_elsewhere(error: AnnotationError, subject: Subject) -> bool:
    """Whether an annotation that can't be read is that of another function, whose verdict says so."""
    own = subject.cls.__qualname__ if subject.cls is not None else subject.root.__qualname__
    if error.function == f"{own}.__init__":
        return subject.kind != "constructor"
    return error.function not in (own, subject.root.__qualname__)


def _of_bare(
    subject: Subject, keys: bool, axes: Axes, unread: Result, error: AnnotationError
) -> tuple[Result, Verdict | None]:
    """The verdict on a function that is annotated `Float` alone: on its body, with what to write."""
    meant = as_meant(subject.root)
    if meant is None:
        return unread, None
    result, verdict = judged(dataclasses.replace(subject, root=meant), keys, axes)
    if verdict is None or result.status not in ("proved", "checked"):
        told = dataclasses.replace(unread, status="skipped", by_letter=True, fix=error.fix)
        return (result, verdict) if result.status == "failed" else (told, None)
    said = f"`{error.parameter}` {error.problem}"
    return dataclasses.replace(
        result, by_letter=True, message=f"{result.message}; {said}", fix=error.fix
    ), verdict


def _not_judged(subject: Subject, where: source.Function | None) -> str:
    if where is not None and where.ignored:
        return f"{IGNORED}: `# typedfilter: ignore`"
    if classes.is_abstract(subject.root) or (subject.cls is not None and types.is_protocol(subject.cls)):
        return "abstract: there is no body to check"
    if where is not None and where.is_empty:
        return "there is no body to check"
    if subject.kind == "constructor" and subject.cls is not None and classes.lacks_parts(subject.cls):
        return f"the class {subject.cls.__name__} is abstract: its subclasses are made"
    if is_driven(subject.root) and (subject.layers or subject.traced):
        return "a generator or coroutine below a transform: its body does not run when it is called"
    return ""


# -------------------------------------------------------------------------------------------------- words


def _result(base: Result, verdict: Verdict, where: source.Function | None) -> Result:
    if verdict.status in ("proved", "checked"):
        if verdict.tried and yields(verdict.tried[0].signature.subject.root):
            only = f"the first {TURNS} that it yields" + (f", {verdict.only}" if verdict.only else "")
            verdict = dataclasses.replace(verdict, status="checked", only=only)
        good = dataclasses.replace(base, status=verdict.status, message=_praise(verdict))
        return dataclasses.replace(
            good, fix=verdict.fix, by_letter=verdict.by_letter, guessed=verdict.guessed
        )
    tried = verdict.decisive
    problem = tried.problem if tried else None
    if verdict.status == "skipped":
        frame = problem.frame if problem else None
        return dataclasses.replace(base, message=verdict.reason, fix=verdict.fix, frame=frame)
    assert tried is not None
    assert problem is not None
    # Axes without a name of their own are only worth a word where the error has one for them.
    said = problem.text

    def named(sizes: Mapping[str, int]) -> dict[str, int]:
        return {name: size for name, size in sizes.items() if not name.startswith("_") or name in said}

    wrong = problem if isinstance(problem, Mismatch) else None
    return dataclasses.replace(
        base,
        status="failed",
        message=problem.message,
        expected=wrong.expected if wrong else "",
        found=wrong.found if wrong else "",
        fix=verdict.fix,
        dims=_dims_of(tried, said),
        sizes=named(tried.sizes),
        good_sizes=named(tried.good[0]) if tried.good else {},
        case=_case_text(tried),
        span=_span(wrong, where) if wrong else None,
        frame=problem.frame,
    )


def _span(wrong: Mismatch, where: source.Function | None) -> Span | None:
    """Where the annotation is that does not hold."""
    own = wrong.span if isinstance(wrong, WrongLocal) else None
    return own or (where.span(wrong.parameter) if where is not None and wrong.parameter else None)


def _dims_of(tried: Tried, said: str) -> dict[str, str]:
    origins = tried.layout.origins
    known = {name: where for name, where in origins.items() if where}
    dims = {name: where for name, where in known.items() if not name.startswith("_") or name in said}
    return dims | {name: "the mapped axis" for name in tried.sizes if name not in origins}


def _case_text(tried: Tried) -> tuple[str, ...]:
    """The choices that are not the usual ones, every member of a union, and the values that were made up."""
    used = tried.layout.used
    points = [
        point
        for point in layout.read_points(tried.signature, tried.read)
        if used.get(point.key)
        or (point.key in used and point.key.startswith("choice of ") and not point.soft)
    ]
    chosen = [point.options[min(used[point.key], len(point.options) - 1)] for point in points]
    mesh = tried.signature.subject.mesh
    said = [] if mesh is None else [mesh.text.removeprefix("under ")]
    return tuple(dict.fromkeys([*said, *chosen, *_notes(tried)]))


def _notes(tried: Tried) -> list[str]:
    """What was made up, but for fields that nobody has read."""
    unread = layout.fields_of(tried.signature).difference(tried.read)
    return [note for note in tried.layout.notes if tried.layout.noted.get(note) not in unread]


def _praise(verdict: Verdict) -> str:
    """What a good verdict depends on."""
    done = [tried for tried in verdict.tried if tried.problem is None]
    first = done[0].signature
    equal = list(dict.fromkeys(pair for tried in done for pair in tried.equal))
    where = f" where {', '.join(f'{name} = {other}' for name, other in equal)}" if equal else ""
    parts = [_sizes_text(verdict, done) + where]
    if verdict.only:
        parts.insert(0, verdict.only)
    signatures = {id(tried.signature): tried for tried in done}.values()
    more = sum(layout.left_out(layout.read_points(one.signature, one.read)) for one in signatures)
    if len(done) > 1:
        parts.append(f"in {len(done)} cases" + (f", {more} were left out" if more else ""))
    if verdict.broken_off:
        parts.append(f"no more cases were tried: with guesses {MOST_TRIALS} trials are the most")
    given = [f"{name}={size}" for tried in done for name, size in tried.signature.sizes]
    notes = list(dict.fromkeys([*given, *(note for tried in done for note in _notes(tried))]))
    if notes:
        parts.append(f"with {', '.join(notes)}")
    refused = [refusal for tried in done for refusal in tried.refused]
    if refused:
        parts.append(f"it refuses {_one(refused[0][0])}: {refused[0][1].message}")
    if only := _only_returned(done):
        said = "it" if len(only) == 1 else "them"
        parts.append(f"{' and '.join(only)} may be any size: only the result says {said}")
    if first.returns.hint is Any:
        parts.append("there is no return annotation: only the trace was checked")
    if first.subject.opaque:
        parts.append(f"its body only: {first.subject.opaque} around it can't be followed")
    return "; ".join(parts)


def _only_returned(done: Sequence[Tried]) -> list[str]:
    """The names that no argument binds: whatever is returned, they agree with it.

    Of a given instance, whose sizes are fixed, nobody asks.
    """
    if not any(tried.layout.names.varied or tried.layout.made for tried in done):
        return []
    bound = {name for tried in done for name in tried.layout.origins}
    given = [array for p in done[0].signature.parameters for array in types.arrays_in(p.type)]
    bound |= {dim.text for array in given for dim in array.dims if dim.variadic}  # of which no axis need be
    returned = [dim for array in types.arrays_in(done[0].signature.returns) for dim in array.dims]
    named = [dim for dim in returned if dim.kind == "named" and dim.text not in bound]
    return list(dict.fromkeys(f"`{'*' * dim.variadic}{dim.text}`" for dim in named))


def _sizes_text(verdict: Verdict, done: Sequence[Tried]) -> str:
    if not any(tried.layout.names.varied for tried in done):
        return "its sizes are fixed"
    mesh = done[0].signature.subject.mesh
    if all(tried.symbolic and not tried.refused for tried in done):
        many = mesh is not None and mesh.multiple > 1
        return f"for all sizes that are multiples of {mesh.multiple}" if mesh and many else "for all sizes"
    # The case with the most trials says which sizes there were.
    inconclusive = [tried for tried in done if tried.good and not tried.symbolic] or list(done)
    most = max(inconclusive, key=lambda tried: len(tried.good))
    return f"at {' and '.join(f'({_one(sizes)})' for sizes in most.good)}"


def _one(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name.lstrip('_')}={size}" for name, size in sizes.items())

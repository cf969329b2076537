"""The programs of this folder, under seven type checkers, and executed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jax
import pytest

HERE = Path(__file__).parent
NEW_MYPY = ("check_binding", "check_vjp")  # what they say, mypy understands from 1.18 on
README = HERE.parents[1] / "README.md"

GUARDED = {("guard.py", 8), ("guard.py", 9)}


def sibling(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


checkers = sibling("checkers")
reports = sibling("reports")
table = sibling("table")
CHECKED, WITH_PLUGIN, COUNTED = reports.CHECKED, reports.WITH_PLUGIN, reports.COUNTED

# How many programs of each counted file a checker must get right, at least.
FLOORS = {
    "mypy": (85, 63, 25, 113),
    "mypy, plugin": (86, 63, 25, 115),
    "pyright": (85, 62, 25, 113),
    "basedpyright": (85, 62, 25, 113),
    "pyrefly": (85, 61, 25, 111),
    "ty": (80, 61, 25, 112),
    "zuban": (83, 62, 24, 112),
}

# Good programs in which a checker reports more than a type that it doesn't know. The README says whose fault
# it is. Nothing else may be added lightly: these are what people see.
OF_SELF = {"kept_method_lower", "kept_plain_function_of_self_lowered"}  # a method keeps its own type
FALSE_ALARMS = {
    "mypy": OF_SELF | {"kept_gradient_by_its_keyword"},
    "mypy, plugin": set(),
    "pyright": OF_SELF | {"kept_summed_loss"},
    "basedpyright": OF_SELF | {"kept_summed_loss"},
    "pyrefly": OF_SELF | {"kept_axes_of_annotations"},
    "ty": OF_SELF | {"kept_branches"},
    "zuban": OF_SELF | {"kept_summed_loss", "kept_custom_rule_with_keywords", "kept_gradient_by_its_keyword"},
}
LOST = re.compile(
    r"assert.type|type-assertion|reveal|Expression is of type|does not match asserted", re.IGNORECASE
)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports of this session are. Away from the source, so that the installed package is found."""
    try:
        importlib.metadata.distribution("typedfilter")
    except importlib.metadata.PackageNotFoundError:
        pytest.fail("typedfilter is not installed, and checkers would not find it: run pip install -e .[dev]")
    return reports.shared_folder(tmp_path_factory.getbasetemp())


def new_mypy() -> tuple[str, ...]:
    major, minor = map(int, importlib.metadata.version("mypy").split(".")[:2])
    return () if (major, minor) >= (1, 18) else NEW_MYPY


def report(checker: str, shared: Path) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = reports.report(checker, checkers, shared, new_mypy())
    return found


def failed(checker: str, shared: Path) -> dict[Path, dict[str, list[str]]]:
    """For each file, the programs that a checker does not get right, with what it says about them."""
    found = report(checker, shared)
    return {
        path: {
            name: [text for line, text in said if line in span]
            for family in table.programs(path.read_text()).values()
            for name, span, mistakes in family
            for said in [[(line, text) for file, line, text in found if file == path.name]]
            if {line for line, _ in said} & set(span) != mistakes
        }
        for path in COUNTED
    }


@pytest.mark.parametrize("checker", checkers.CHECKERS)
def test_every_checker_finds_the_package_and_the_mistakes_in_its_guard(checker: str, shared: Path):
    found = report(checker, shared)
    assert {(file, line) for file, line, _ in found if file == "guard.py"} == GUARDED


@pytest.mark.parametrize("checker", ["mypy", "mypy, plugin", "pyright", "basedpyright"])
def test_the_programs_are_accepted_and_rejected_as_they_say(checker: str, shared: Path):
    names = {path.name for path in WITH_PLUGIN} | {"losses.py"}
    unexpected = [f"{file}:{line}: {text}" for file, line, text in report(checker, shared) if file in names]
    assert unexpected == []


@pytest.mark.parametrize("checker", FLOORS)
def test_the_counted_programs_stay_above_the_floor(checker: str, shared: Path):
    lists = failed(checker, shared)
    counts = [sum(map(len, table.programs(path.read_text()).values())) - len(lists[path]) for path in COUNTED]
    assert all(count >= floor for count, floor in zip(counts, FLOORS[checker], strict=True)), (counts, lists)


@pytest.mark.parametrize("checker", FALSE_ALARMS)
def test_good_programs_raise_no_false_alarm(checker: str, shared: Path):
    alarms = {
        name: said
        for programs in failed(checker, shared).values()
        for name, said in programs.items()
        if name.startswith("kept_") and not all(map(LOST.search, said))
    }
    assert {name: said for name, said in alarms.items() if name not in FALSE_ALARMS[checker]} == {}


# Of loops and branches: wrong programs that a checker does not see, and right ones that it takes for wrong.
LOOPS = HERE / "check_control_flow.py"
MISSED = {
    "ty": {"filter_cond"},
    "pyrefly": set(),
    "zuban": set(),
}  # ty does not compare operands with a predicate
ALARMS = {"ty": set(), "pyrefly": {"def bare("}, "zuban": {"assert_type(linear,"}}


@pytest.mark.parametrize("checker", MISSED)
def test_loops_and_branches_are_typed_for_the_checkers_without_ignores_too(checker: str, tmp_path: Path):
    text = re.sub(r"  # type: ignore.*", "", LOOPS.read_text())
    (tmp_path / "loops.py").write_text(text)
    lines = dict(enumerate(text.splitlines(), 1))
    first = next(number for number, line in lines.items() if line == "def rejected() -> None:")
    wrong = {n for n, line in lines.items() if n > first and line.startswith("    filter_")}
    found = {report.line for report in checkers.CHECKERS[checker](tmp_path)}
    missed, alarms = ({lines[n].strip() for n in some} for some in (wrong - found, found - wrong))
    assert {line for line in missed if not line.startswith(tuple(MISSED[checker]) or ("-",))} == set()
    assert {line for line in alarms if not line.startswith(tuple(ALARMS[checker]) or ("-",))} == set()
    assert len(wrong & found) >= 12


@pytest.mark.parametrize("checker", checkers.CHECKERS)
def test_nothing_is_reported_around_the_counted_programs(checker: str, shared: Path):
    inside = {
        (path.name, line)
        for path in COUNTED
        for family in table.programs(path.read_text()).values()
        for _, span, _ in family
        for line in span
    }
    names = {path.name for path in COUNTED}
    assert [at for at in report(checker, shared) if at[0] in names and (at[0], at[1]) not in inside] == []


def test_the_plugin_knows_markers_of_modules_that_mypy_read_from_its_cache(shared: Path, tmp_path: Path):
    assert not [at for at in report("mypy, plugin", shared) if at[0] == "losses.py"]  # it is in the cache now
    (tmp_path / "losses.py").write_text(reports.LOSSES)
    (tmp_path / "use.py").write_text(
        "from typedfilter import filter_grad\nfrom losses import loss\n"
        "reveal: int = filter_grad(loss)('a', {})\n"
    )
    found = checkers.run_mypy(tmp_path, plugin=True)
    assert [(error.file, error.line) for error in found] == [("use.py", 3)]
    assert '"dict[str, Array]"' in found[0].text


def test_the_plugin_works_where_mypy_is_told_to_skip_imports(shared: Path, tmp_path: Path):
    # What of the package no type hangs on need not be read either.
    parts = "check bench explain demo _reading _values _shapes _placing _wrapping _compiling _looping".split()
    skipped = ",".join(["jax.*", "numpy.*", *(f"typedfilter.{part}.*" for part in parts)])
    (tmp_path / "program.py").write_text(
        "from jax import Array\n"
        "from typedfilter import Diff, Static, VmapAxis, filter_grad, filter_jacfwd, filter_jit\n"
        "def f(x: VmapAxis[1], n: Static[Array], w: Diff[dict[str, float]]) -> float: return 1.0\n"
        "filter_grad(f), filter_jacfwd(f), filter_jit(f).lower(1)\n"
    )
    settings = f"[mypy-{skipped}]\nfollow_imports = skip\n"
    assert checkers.run_mypy(tmp_path, plugin=True, strict=False, settings=settings) == []


def test_every_public_name_has_a_complete_type(shared: Path):
    report = checkers.pyright_report("--verifytypes", "typedfilter", "--ignoreexternal", folder=shared)
    completeness = report["typeCompleteness"]
    incomplete = [symbol["name"] for symbol in completeness["symbols"] if not symbol["isTypeKnown"]]
    assert incomplete == []
    assert completeness["completenessScore"] == 1.0
    assert completeness["exportedSymbolCounts"]["withKnownType"] > 50


# In the editor -------------------------------------------------------------------------------------------

EDITED = '''\
from jax import Array
from typedfilter import filter_grad, filter_jit

@filter_jit
def scaled(x: Array, times: int = 1) -> Array:
    """Scales an array."""
    return x * times

def loss(weights: dict[str, Array], x: Array) -> Array:
    """How wrong the weights are."""
    return x

class Model:
    @filter_jit
    def apply(self, x: Array) -> Array:
        """Applies the model."""
        return x

gradient = filter_grad(loss)
scaled(1)
gradient(1)
Model().apply(1)
'''


@pytest.fixture(scope="module", params=["pyright", "ty"])
def editor(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, object, Path]]:
    """A language server in which `EDITED` is open."""
    folder = tmp_path_factory.mktemp("edited")
    path = folder / "edited.py"
    path.write_text(EDITED)
    server = sibling("language_server").LanguageServer(request.param, folder, checkers.environment())
    with server:
        server.open(path)
        yield request.param, server, path


def test_editors_show_the_parameters_of_compiled_functions_methods_and_gradients(editor):
    _, server, path = editor
    assert server.signature(path, "scaled(1") == "(x: Array, times: int = 1) -> Array"
    assert server.signature(path, "apply(1") == "(x: Array) -> Array"
    gradient = "(weights: dict[str, Array], x: Array) -> dict[str, Array]"
    assert server.signature(path, "gradient(1") == gradient


def test_editors_show_the_signature_and_the_docstring_of_what_the_pointer_is_on(editor):
    name, server, path = editor
    compiled = re.sub(r"\s+", " ", server.hover(path, "scaled(1"))
    assert "Jitted[" in compiled
    assert "x: Array, times: int = 1" in compiled
    assert "Scales an array." in compiled
    assert "(x: Array) -> Array" in server.hover(path, "apply(1")
    assert "Applies the model." in server.hover(path, "apply(1")
    if name == "pyright":  # ty shows the name of the type
        gradient = re.sub(r"\s+", " ", server.hover(path, "gradient(1"))
        assert "weights: dict[str, Array], x: Array" in gradient
        assert "How wrong the weights are." in gradient


# Executed ------------------------------------------------------------------------------------------------


@pytest.fixture
def quickly_compiled() -> Iterator[None]:
    """These programs have to run, and not fast."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize("file", WITH_PLUGIN, ids=lambda file: file.stem)
@pytest.mark.usefixtures("quickly_compiled")
def test_the_accepted_programs_run(file: Path):
    runpy.run_path(str(file), run_name="__main__")


@pytest.mark.parametrize("file", COUNTED[1:], ids=lambda file: file.stem)
@pytest.mark.usefixtures("quickly_compiled")
def test_the_good_programs_around_models_run(file: Path, capsys: pytest.CaptureFixture[str]):
    programs = runpy.run_path(str(file))
    kept = [name for name in programs if name.startswith("kept_")]
    assert len(kept) >= 25
    for name in kept:
        programs[name]()


@pytest.mark.parametrize("file", WITH_PLUGIN, ids=lambda file: file.stem)
def test_every_accepted_program_is_called_when_the_file_runs(file: Path):
    text = file.read_text()
    called = text.partition('if __name__ == "__main__":')[2]
    assert re.findall(r"^def (accepted\w*)", text, re.MULTILINE) == called.replace("()", "").split()


def test_every_ignored_error_is_named():
    bare = [
        f"{file.name}:{number}"
        for file in [*WITH_PLUGIN, *HERE.parents[1].glob("typedfilter/**/*.py")]
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"#\s*(type|pyright): ignore(?!\[)", line)
    ]
    assert bare == []


def test_the_readme_promises_no_more_than_what_is_counted(shared: Path):
    _, _, rest = README.read_text().partition(table.BEGIN)
    promised = rest.partition(table.END)[0]
    assert promised, "the README has no table"
    header, _, *rows = [line.split("|")[1:-1] for line in promised.splitlines() if line.startswith("|")]
    text = table.PROGRAMS.read_text()
    ours = next(row for row in rows if row[0].strip() == "`typedfilter`")
    assert int(re.findall(r"\d+", header[0])[0]) == sum(map(len, table.programs(text).values()))
    for column, checker in enumerate(header[1:], 1):
        lines = {line for file, line, _ in report(checker.strip(), shared) if file == table.PROGRAMS.name}
        count = sum(sum(programs.values()) for programs in table.passed(text, lines).values())
        assert int(ours[column].strip().strip("*")) <= count, checker

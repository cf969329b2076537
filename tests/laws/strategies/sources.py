"""Values as Python source: arrays of every kind, pytrees that hold them, static values that look alike."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = [
    "FAMILIES",
    "differentiable",
    "every_static",
    "inexact",
    "mapped",
    "marked",
    "one_of",
    "small",
    "statics",
    "trees",
]

DTYPES = (
    *("float32", "float16", "bfloat16", "float8_e4m3fn", "complex64"),
    *("int32", "int8", "uint8", "int4", "bool"),
)
SHAPES = ("()", "(3,)", "(2, 3)", "(0,)", "(0, 2)")


def of_dtypes(dtypes: tuple[str, ...], shapes: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Arrays of JAX's and of NumPy's, all of these dtypes and shapes."""
    return st.builds(
        "{}({!r}, {}, {})".format,
        st.sampled_from(["array", "numbers"]),
        st.sampled_from(dtypes),
        st.sampled_from(shapes),
        st.integers(0, 2).map(str),
    )


SCALARS = (
    *("np.float32(1.5)", "np.float64(0.5)", "np.int64(2)", "np.bool_(True)", "np.complex64(1j)"),
    *("jnp.asarray(2.0)", "jnp.asarray(2)", "jnp.asarray(1j)", "jnp.float32(2.0)", "jnp.bfloat16(1.0)"),
    *("jax.random.key(0)", "keys(3)", "jax.random.PRNGKey(1)", "SHARED", "SHARED"),
)
PLAIN = (
    *("None", "0", "1", "1.0", "True", "-0.0", "0.0", "2j", "'a'", "''", "b'b'", "()", "SHARED_NUMBER"),
    *("jnp.sin", "print", "int", "Ellipsis", "Colour.RED", "Level.ONE", "frozenset({1})", "Config(1)"),
    *("Config((1.0, 'a'))", "np.dtype('int8')", "range(3)", "decimal.Decimal('1.0')", "double"),
    *("pathlib.PurePosixPath('a')", "datetime.date(2020, 1, 1)", "jnp.float32", "'x y'"),
)
arrays = of_dtypes(DTYPES, SHAPES) | st.sampled_from(SCALARS)
plain = st.sampled_from(PLAIN)

NODES = ("Pair", "Frozen", "Keyed", "ByHand", "Model", "Fixed", "Module", "Struct")


# Static fields of other libraries' classes are compared by JAX, by `==`: none of these values are equal.
def branches(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, max_size=3).map(", ".join)
    return (
        several.map("[{}]".format)
        | st.lists(inner, min_size=1, max_size=3).map(lambda ones: f"({', '.join(ones)},)")
        | st.builds("{{'a': {}, 'b': {}}}".format, inner, inner)
        | st.builds("{{2: {}, 1: {}}}".format, inner, inner)
        | st.builds("collections.OrderedDict(b={}, a={})".format, inner, inner)
        | st.builds("collections.defaultdict(list, a={})".format, inner)
        | st.builds("{}({}, {})".format, st.sampled_from(NODES), inner, inner)
        | st.builds("Model({}, {}, {})".format, inner, inner, plain)
        | st.builds("Module({}, {}, {})".format, inner, inner, st.sampled_from(["'a'", "2", "('b',)"]))
        | st.builds("jax.tree_util.Partial(double, {})".format, inner)
    )


def trees_of(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(leaves, branches, max_leaves=6)


trees = trees_of(arrays | plain)
"""Trees of anything."""

differentiable = trees_of(
    of_dtypes(("float32", "float16", "bfloat16", "int32", "bool"), ("()", "(3,)", "(2, 3)", "(0,)"))
    | st.sampled_from([*SCALARS[:4], "jnp.asarray(2.0)", "keys(3)", "SHARED", "np.int8(1)"])
    | plain
)
"""Trees in which no array is complex: of what JAX differentiates."""

small = of_dtypes(("bfloat16", "float8_e4m3fn", "int4"), SHAPES)
"""Arrays of dtypes that NumPy alone does not have."""

inexact = of_dtypes(("float32", "float16", "bfloat16"), ("()", "(3,)"))
"""Arrays that have a gradient."""

marked = st.builds(
    "{}({}, {})".format, st.sampled_from(["Fixed", "ByHand"]), *[inexact | st.just("SHARED")] * 2
)
"""Nodes whose first field has no gradient."""

mapped = trees_of(
    of_dtypes(DTYPES, ("(3,)", "(3, 2)", "(3, 0)")) | st.sampled_from(["keys(3)", "SHARED"]) | plain
)
"""Trees whose arrays all have 3 examples."""

# Each family: values that `==` takes for one another, or nearly. A program can tell each from every other.
FAMILIES = (
    ("0", "0.0", "-0.0", "False", "0j", "complex(0.0, -0.0)", "Level.ZERO", "''", "None", "()"),
    ("1", "1.0", "True", "1 + 0j", "Level.ONE", "'1'", "Colour.ONE", "(1,)", "(True,)", "((1.0,),)"),
    ("frozenset({1})", "frozenset({True})", "frozenset({1.0})", "frozenset({(1,)})", "frozenset()"),
    ("float('nan')", "float('inf')", "-float('inf')", "(float('nan'), 1)", "(float('nan'), True)"),
    ("Config(1)", "Config(True)", "Config(1.0)", "Config((1,))", "Config((True,))", "Config(1, (0.0,))"),
    ("Config(1, (-0.0,))", "Config(1, (0.0,))", "Config(Config(1))", "Config(Config(True))"),
    ("Liar(1)", "Liar('1')", "Liar(None)"),
    ("Pair(1, 2)", "(1, 2)", "Pair(True, 2)", "Pair(1, 2.0)", "range(1, 3)"),
    (*("decimal.Decimal('1.0')", "decimal.Decimal('1.00')", "decimal.Decimal('1')"), "fractions.Fraction(1)"),
    ("decimal.Decimal('0')", "decimal.Decimal('-0')", "decimal.Decimal('0E+3')", "fractions.Fraction(0)"),
    (
        "range(0)",
        "range(1, 1)",
        "range(0, 3, 2)",
        "range(0, 4, 2)",
    ),
    (
        "datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)",
        "datetime.datetime(2020, 1, 1, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))",
        "datetime.datetime(2020, 1, 1, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1), 'Z'))",
        "datetime.datetime(2020, 1, 1, 12, tzinfo=zoneinfo.ZoneInfo('UTC'))",
        *("datetime.datetime(2020, 1, 1, 12)", "datetime.datetime(2020, 1, 1, 12, fold=1)"),
        *("datetime.time(12)", "datetime.time(12, fold=1)", "datetime.date(2020, 1, 1)"),
    ),
    ("datetime.timedelta(0)", "datetime.timedelta(1)", "datetime.timezone.utc", "datetime.timezone.min"),
    ("list[1]", "list[True]", "list[Annotated[int, 1]]", "list[Annotated[int, True]]", "list[int]"),
    ("int | str", "str | int", "typing.Union[int, str]", "int | None", "list[1] | None", "list[True] | None"),
    ("Annotated[int, 1]", "Annotated[int, True]", "Annotated[int, 1.0]", "Annotated[int, Config(1)]"),
    ("Literal[0, 1]", "Literal[1, 0]", "Literal[1]", "Literal[True]", "typing.Optional[int]"),
    ("pathlib.PureWindowsPath('A')", "pathlib.PureWindowsPath('a')", "pathlib.PurePosixPath('a')"),
    ("uuid.UUID(int=1)", "uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)", "uuid.UUID(int=2)"),
    (
        *("ipaddress.ip_address('::1')", "ipaddress.ip_address('::1%1')", "ipaddress.ip_network('::1')"),
        *("ipaddress.ip_interface('::1')", "ipaddress.ip_address('0.0.0.1')", "ipaddress.ip_address(1)"),
    ),
    ("re.compile('a')", "re.compile('a', re.I)", "re.compile(b'a')", "re.compile('a', re.A)"),
    ("time.gmtime(0)", "time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0), {'tm_zone': 'X', 'tm_gmtoff': 1})"),
    ("statistics.NormalDist(0.0)", "statistics.NormalDist(-0.0)", "statistics.NormalDist(0.0, 2.0)"),
    ("memoryview(b'ab')", "memoryview(b'ab').cast('b')", "b'ab'", "memoryview(b'ab').cast('c')"),
    (
        "inspect.Parameter('a', inspect.Parameter.KEYWORD_ONLY, default=1)",
        "inspect.Parameter('a', inspect.Parameter.KEYWORD_ONLY, default=True)",
        *("inspect.signature(lambda a=1: 0)", "inspect.signature(lambda a=True: 0)"),
    ),
    ("compile('1', 'a', 'eval')", "compile('1', 'b', 'eval')", "compile('True', 'a', 'eval')"),
    ("typing.List[int]", "list[int]", "typing.Callable[[int], int]", "collections.abc.Callable[[int], int]"),
    ("re.I", "re.IGNORECASE | re.A", "int(re.I)", "Level.ONE", "1"),
    ("operator.add", "operator.sub", "print", "int", "type", "double"),
)


NUMBERS = ("1", "1.0", "True", "0.0", "-0.0", "float('nan')")


def alike(values: list[str]) -> st.SearchStrategy[list[str]]:
    """These values in some order, all inside of the same others."""
    around = st.sampled_from(["{}", "{}", "({}, 'x')", "Config({})", "((), ({},))"])
    return st.builds(
        lambda values, around: [around.format(value) for value in values], st.permutations(values), around
    )


EVERY = list(dict.fromkeys([*NUMBERS, *(value for family in FAMILIES for value in family)]))
few = st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=2, unique=True)
statics = few.map(lambda families: [value for family in families for value in family]).flatmap(alike)
"""Static values of which some look alike."""


def one_of(families: list[tuple[str, ...]]) -> st.SearchStrategy[list[str]]:
    """The values of one of these families."""
    return st.sampled_from(families).map(list).flatmap(alike)


every_static = alike(EVERY)
"""All of them: whatever two values are taken for one, they are among these."""

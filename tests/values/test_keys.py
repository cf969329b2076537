"""When two static values are the same: exact keys, and the one live object for each."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import functools
import gc
import ipaddress
import pathlib
import pickle
import re
import sys
import threading
import uuid
import weakref
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from typedfilter._values import keys as _keys
from typedfilter._values.keys import exact_key, intern, is_self_exact, static_problem
from typedfilter._values.memory import ByClass


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Weight(float, enum.Enum):
    LIGHT = 1.0


class Point(NamedTuple):
    x: Any
    y: Any = 0


class Word(str):
    pass


@dataclasses.dataclass(frozen=True)
class Config:
    rate: Any
    name: Any = dataclasses.field(default="", compare=False)
    options: Any = dataclasses.field(default=(), hash=False)


@dataclasses.dataclass(frozen=True)
class Other:
    rate: Any


@dataclasses.dataclass(frozen=True, eq=False)
class ByIdentity:
    rate: Any


@dataclasses.dataclass(frozen=True)
class Lenient:
    """Its own `__eq__` looks at the first letter only."""

    word: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lenient) and self.word[0] == other.word[0]

    def __hash__(self) -> int:
        return hash(self.word[0])


class Modulo:
    """A plain class with its own `__eq__`."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Modulo) and self.value % 10 == other.value % 10

    def __hash__(self) -> int:
        return self.value % 10


class FrozenDict(dict):
    def __hash__(self) -> int:  # type: ignore[override]  # dict says None
        return hash(tuple(self))


NAN = float("nan")

UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=1))
NAMED = datetime.timezone(datetime.timedelta(0), "here")
NOON = datetime.datetime(2020, 1, 1, 12)

# All equal to some other one here, or equal under ==, and all different programs.
DIFFERENT = [
    *(0, False, 0.0, -0.0, 0j, complex(0.0, -0.0), complex(-0.0, 0.0)),
    *(1, True, 1.0, 1 + 0j, Colour.RED, Level.LOW, Weight.LIGHT, "1", b"1", None, NAN, complex(NAN, 0.0)),
    *(np.int32(1), np.int64(1), np.uint8(1), np.bool_(True), np.float32(1), np.float64(1), np.complex64(1)),
    *(np.float32(0.0), np.float32(-0.0), np.float32("nan"), np.float64("nan"), ml_dtypes.bfloat16(1)),
    *(np.longdouble(0.0), np.longdouble(-0.0), np.datetime64("2020"), np.datetime64("2020-01"), np.str_("1")),
    *("a", Word("a"), (), (1,), (1.0,), (True,), (np.int32(1),), (0.0,), (-0.0,), (NAN,), ((1,),), ((1.0,),)),
    *(Point(1), Point(1.0), Point(True), (1, 0), Point(0.0, -0.0), Point(0.0, 0.0)),
    *(frozenset(), frozenset([1]), frozenset([1.0]), frozenset([True]), frozenset([NAN])),
    *(range(0), range(1, 1), range(2, 2), range(0, 4, 2), range(0, 3, 2)),
    *(slice(1), slice(1.0), slice(None), slice(0, 1)),
    *(Config(1), Config(1.0), Config(True), Other(1), Config(NAN), Config(Config(0.0)), Config(Config(-0.0))),
    *(
        Config(0, options={1: 0}),
        Config(0, options={1.0: 0}),
        Config(0, options=[1]),
        Config(0, options=[True]),
    ),
    *(
        FrozenDict({1: 1}),
        FrozenDict({1.0: 1}),
        FrozenDict({1: True}),
        FrozenDict(a=1, b=2),
        FrozenDict(b=2, a=1),
    ),
    *map(Decimal, ("1", "1.0", "1.00", "0", "-0", "0.0", "NaN", "-NaN", "Infinity")),
    *(Fraction(1), Fraction(1, 2), uuid.UUID(int=1), ipaddress.ip_address("0.0.0.1"), re.compile("1")),
    *(re.compile("1", re.IGNORECASE), pathlib.PurePosixPath("1"), pathlib.PureWindowsPath("1")),
    *(NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(hour=13, tzinfo=EAST), NOON.date()),
    *(NOON.replace(tzinfo=NAMED), NOON.time(), NOON.time().replace(fold=1), NOON.time().replace(tzinfo=UTC)),
    *(UTC, EAST, NAMED, datetime.timedelta(hours=1), zoneinfo.ZoneInfo("UTC")),
    *(list[1], list[True], list[1.0], tuple[int], list[int], list[list[1]], list[list[True]]),
    *(
        int,
        float,
        print,
        len,
        abs.__call__,
        np.dtype("int32"),
        np.dtype("float32"),
        ByIdentity(1),
        ByIdentity(1),
    ),
]


def test_no_two_values_that_a_program_can_tell_apart_have_one_key():
    keys = [exact_key(value) for value in DIFFERENT]
    for i, one in enumerate(keys):
        for j, two in enumerate(keys):
            assert (one == two) == (i == j), (DIFFERENT[i], DIFFERENT[j])


@pytest.mark.parametrize(
    "make",
    [
        lambda: 10**20,
        lambda: float("nan"),
        lambda: complex(float("nan"), -0.0),
        lambda: np.float32("nan"),
        lambda: np.longdouble("nan"),
        lambda: np.longdouble(1) / 3,
        lambda: (float("nan"), [], 1)[::2],
        lambda: frozenset([float("nan")]),
        lambda: Point(float("nan"), "a"),
        lambda: Config(float("nan")),
        lambda: Config((Config(float("nan")),), options={"a": [float("nan")]}),
        lambda: slice(float("nan")),
        lambda: range(10**20),
        lambda: FrozenDict(a=float("nan")),
        lambda: Modulo(3),
        lambda: Decimal("sNaN1"),
        lambda: datetime.datetime(2020, 1, 1, fold=1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        lambda: datetime.time(1, tzinfo=zoneinfo.ZoneInfo("UTC")),
        lambda: list[dict[str, 1.0]],
    ],
)
def test_equal_values_made_twice_have_one_key_nan_included(make):
    assert exact_key(make()) == exact_key(make())
    assert hash(exact_key(make())) == hash(exact_key(make()))
    assert len({exact_key(make()), exact_key(make())}) == 1


def test_the_order_of_a_frozenset_counts_where_a_program_can_see_it():
    one, two = frozenset([0, 8]), frozenset([8, 0])
    assert one == two
    assert (exact_key(one) == exact_key(two)) == (list(one) == list(two))


def test_a_dataclass_field_that_is_not_compared_does_not_count():
    assert exact_key(Config(1, name="a")) == exact_key(Config(1, name="b"))


def test_a_handwritten_eq_of_a_dataclass_decides_beside_its_fields():
    assert exact_key(Lenient("ab")) == exact_key(Lenient("ab"))
    assert exact_key(Lenient("ab")) != exact_key(Lenient("ac"))  # equal by its own __eq__ only

    @dataclasses.dataclass(frozen=True)
    class Strict:
        number: int
        unit: str = dataclasses.field(default="", compare=False)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Strict) and (self.number, self.unit) == (other.number, other.unit)

        def __hash__(self) -> int:
            return self.number

    assert exact_key(Strict(1, "m")) == exact_key(Strict(1, "m"))
    assert exact_key(Strict(1, "m")) != exact_key(Strict(1, "s"))  # equal by its fields only


def test_of_other_classes_the_exact_type_and_their_own_eq_decide():
    class Below(Modulo):
        pass

    assert exact_key(Modulo(3)) == exact_key(Modulo(13))
    assert exact_key(Modulo(3)) != exact_key(Modulo(4))
    assert exact_key(Modulo(3)) != exact_key(Below(3))


def test_a_subclass_of_tuple_or_float_with_its_own_eq_is_asked_too():
    class Tagged(tuple):
        tag = 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Tagged) and self.tag == other.tag

        def __hash__(self) -> int:
            return 0

    class Loose(float):
        unit = ""

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Loose) and self.unit == other.unit

        def __hash__(self) -> int:
            return 0

    for cls, content in ((Tagged, (1,)), (Loose, 1.0)):
        one, two = cls(content), cls(content)
        assert exact_key(one) == exact_key(two)
        two.tag = two.unit = "other"
        assert exact_key(one) != exact_key(two)


def test_structured_numpy_scalars_are_compared_by_their_fields_and_not_by_padding():
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)

    def scalar(value: float, padding: int) -> Any:
        raw = np.full(dtype.itemsize, padding, np.uint8).view(dtype)
        raw["a"], raw["b"] = 1, value
        raw.flags.writeable = False  # else NumPy refuses to hash its scalars
        return raw[0]

    assert exact_key(scalar(0.0, 0)) == exact_key(scalar(0.0, 255))
    assert exact_key(scalar(0.0, 0)) != exact_key(scalar(-0.0, 0))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="no 80 bit numbers here")
def test_80_bit_numbers_are_not_compared_by_their_padding():
    def scalar(value: float, padding: int) -> Any:
        raw = np.full(np.longdouble(0).nbytes, padding, np.uint8)
        raw[:10] = np.frombuffer(np.longdouble(value).tobytes(), np.uint8)[:10]
        return raw.view(np.longdouble)[0]

    assert scalar(1.5, 0).tobytes() != scalar(1.5, 255).tobytes()
    assert exact_key(scalar(1.5, 0)) == exact_key(scalar(1.5, 255))


@pytest.mark.parametrize(
    "value",
    [[], {}, set(), (1, []), Point([]), ([],), Config([]), slice([]), np.zeros(1), (1, np.zeros(1))],
)
def test_what_is_unhashable_has_no_key(value):
    with pytest.raises(TypeError, match="unhashable"):
        exact_key(value)


@pytest.mark.parametrize(
    "cls",
    [
        int,
        bool,
        str,
        bytes,
        type(None),
        type,
        type(lambda: 0),
        type(print),
        Colour,
        Level,
        Weight,
        Word,
        Modulo,
        functools.partial,
        jax.tree_util.Partial,
        ByIdentity,
        type(jax),
        type(np.dtype("int32")),
        object,
    ],
)
def test_types_whose_own_equality_is_exact_need_no_key(cls):
    assert is_self_exact(cls) is True


@pytest.mark.parametrize(
    "cls",
    [
        float,
        complex,
        tuple,
        frozenset,
        dict,
        FrozenDict,
        range,
        slice,
        Point,
        Config,
        Lenient,
        np.float64,
        np.int32,
        np.bool_,
        ml_dtypes.bfloat16,
        type("Metres", (float,), {}),
        Decimal,
        datetime.datetime,
        datetime.time,
        datetime.timezone,
        type(list[int]),
    ],
)
def test_types_whose_own_equality_is_too_coarse_need_a_key(cls):
    assert is_self_exact(cls) is False


# --- interning ----------------------------------------------------------------------------------------------


def test_one_object_stands_for_all_values_of_one_key():
    held = [intern(value) for value in DIFFERENT]
    assert len(set(held)) == len(DIFFERENT)
    assert intern((1, float("nan"))) is not intern((1.0, float("nan")))
    first = intern((1, float("nan")))
    assert intern((1, float("nan"))) is first
    assert repr(intern((1, "a"))) == "(1, 'a')"


def test_an_interned_object_dies_with_its_last_holder_and_leaves_nothing_behind():
    gc.collect()
    before = len(_keys._TABLE)
    held = [intern((n, "dies")) for n in range(100)]
    refs = [weakref.ref(one) for one in held]
    assert len(_keys._TABLE) == before + 100
    del held
    gc.collect()
    assert [ref for ref in refs if ref() is not None] == []
    assert len(_keys._TABLE) == before


def test_a_value_that_holds_its_own_interned_object_is_freed():
    class Holder:
        interned: Any = None

    holder = Holder()
    holder.interned = intern((holder, 1))
    ref = weakref.ref(holder)
    del holder
    gc.collect()
    assert ref() is None


def test_interned_objects_survive_pickling_and_copying_as_the_same_object():
    one = intern((1, 2.0, "a"))
    assert pickle.loads(pickle.dumps(one)) is one
    assert copy.deepcopy(one) is one
    assert copy.copy(one) is one


def test_threads_that_intern_one_value_get_one_object():
    start = threading.Barrier(8)
    seen: list[list[object]] = [[] for _ in range(8)]

    def work(mine: list[object]) -> None:
        start.wait()
        mine.extend(intern((n, "threads")) for n in range(300))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(len(set(column)) == 1 for column in zip(*seen, strict=True))


def test_what_is_known_of_a_class_is_computed_once_and_does_not_keep_it_alive():
    asked = []
    table = ByClass(lambda cls: asked.append(cls.__name__))

    class Local:
        pass

    for _ in range(3):
        table[Local], table[int]
    assert asked == ["Local", "int"]
    assert is_self_exact(Local)
    assert exact_key(Local())
    ref = weakref.ref(Local)
    del Local
    gc.collect()
    assert ref() is None


# --- why a value can't be static ----------------------------------------------------------------------------


class HashRaises:
    def __hash__(self) -> int:
        raise ValueError("no hash today")


class HashRefuses:
    def __hash__(self) -> int:
        raise TypeError("not for hashing")


class EqRaises:
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("can't say")


class EqIsArray:
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return jnp.ones(2)


class EqHasNoTruth:
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        class Maybe:
            def __bool__(self) -> bool:
                raise ValueError("maybe")

        return Maybe()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([1], "is unhashable: list"),
        ({}, "is unhashable: dict"),
        (jnp.ones(2), "is an array"),
        (np.ones(2), "is an array"),
        ((1, [2]), "is unhashable: tuple with a list inside"),
        (
            memoryview(bytearray(b"a")),
            "has a __hash__ that raised ValueError: cannot hash writable memoryview object",
        ),
        ((1, (2, jnp.ones(1))), "is unhashable: tuple with an array inside"),
        (Config([1]), "is unhashable: Config with a list inside"),
        (HashRaises(), "has a __hash__ that raised ValueError: no hash today"),
        (HashRefuses(), "has a __hash__ that raised TypeError: not for hashing"),
        (EqRaises(), "has an __eq__ that raised RuntimeError: can't say"),
        (EqIsArray(), "has an __eq__ that returned an array"),
        (EqHasNoTruth(), "has an __eq__ whose result raised ValueError: maybe"),
    ],
)
def test_a_value_that_cannot_be_static_says_why(value, problem):
    assert static_problem(value) == problem


def test_a_tracer_can_not_be_static():
    found = []
    jax.jit(lambda x: found.append(static_problem(x)))(1.0)
    assert found == ["is an array"]


@pytest.mark.parametrize("value", [value for value in DIFFERENT if not isinstance(value, slice)])
def test_ordinary_values_can_be_static(value):
    assert static_problem(value) is None

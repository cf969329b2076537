"""One live object for each key, held by nobody here: the table behind everything that is interned.

The entries hold their own keys and the table holds only hashes and weak references. A table that
held the keys would keep alive for ever any value from which its own entry can be reached: a static
function, say, whose closure holds the compiled program that it is a part of.
"""

from __future__ import annotations

import collections
import sys
import threading
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar


def weakly(obj: Any) -> Callable[[], Any]:
    """A weak reference to `obj`; a strong one to what can't have one (a builtin instance)."""
    try:
        return weakref.ref(obj)
    except TypeError:
        return lambda: obj


class HasKey(Protocol):
    """What can be interned: a weakly referable object that holds its key."""

    key: Any


T = TypeVar("T")
V = TypeVar("V", bound=HasKey)


class InternTable(Generic[V]):
    """The one live entry for each key. No lock is taken where the entry is found."""

    def __init__(self) -> None:
        self._live: dict[int, tuple[weakref.ref[V], ...]] = {}
        self._dead: collections.deque[tuple[int, weakref.ref[V]]] = collections.deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._live.values()))

    def get(self, key: Hashable) -> V | None:
        """The live entry whose key equals `key`, if there is one."""
        return self._find(self._live.get(hash(key), ()), key)

    @staticmethod
    def _find(chain: tuple[weakref.ref[V], ...], key: Hashable) -> V | None:
        for ref in chain:
            entry = ref()
            if entry is not None and entry.key == key:
                return entry
        return None

    def get_or_add(self, key: Hashable, make: Callable[[], V]) -> V:
        """The live entry for `key`; `make()` makes it, with that key, where there is none."""
        digest = hash(key)
        made: V | None = None
        while True:
            chain = self._live.get(digest, ())
            found = self._find(chain, key)
            if found is not None:
                return found
            if made is None:
                made = make()
            # Keys are compared outside of the lock: an `__eq__` of the user's may do anything, even wait.
            with self._lock:
                unchanged = self._live.get(digest, ()) is chain
                if unchanged:
                    self._live[digest] = (*chain, weakref.ref(made, self._forgetter(digest)))
            self._sweep()
            if unchanged:
                return made

    def _forgetter(self, digest: int) -> Callable[[weakref.ref[V]], None]:
        def forget(ref: weakref.ref[V]) -> None:
            self._dead.append((digest, ref))
            self._sweep()

        return forget

    def _sweep(self) -> None:
        # An entry may die at any point, also while this thread holds the lock: whoever finds it taken
        # leaves the removal to its holder, who sweeps after every release.
        while self._dead and self._lock.acquire(blocking=False):
            try:
                while self._dead:
                    digest, dead = self._dead.popleft()
                    rest = tuple(ref for ref in self._live.get(digest, ()) if ref is not dead)
                    if rest:
                        self._live[digest] = rest
                    else:
                        self._live.pop(digest, None)
            finally:
                self._lock.release()


class PerObject(Generic[T]):
    """Something that lives as long as an object does, whatever that object compares equal to.

    What is kept must not hold the object, or neither is ever freed. An object that can't be weakly
    referenced keeps nothing: it gets a new one each time.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: dict[int, tuple[weakref.ref[Any], T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, obj: object) -> T:
        """What is kept for `obj`; made at the first call."""
        kept = self._kept.get(id(obj))
        if kept is not None and kept[0]() is obj:
            return kept[1]
        try:
            ref = weakref.ref(obj, self._forgetter(id(obj)))
        except TypeError:
            return self._make()
        if kept is not None:  # another object had this id and is being forgotten just now
            self._kept.pop(id(obj), None)
        return self._kept.setdefault(id(obj), (ref, self._make()))[1]

    def _forgetter(self, key: int) -> Callable[[weakref.ref[Any]], None]:
        table = self._kept

        def forget(ref: weakref.ref[Any]) -> None:
            kept = table.get(key)
            if kept is not None and kept[0] is ref:
                del table[key]

        return forget


class Attached(Generic[T]):
    """As `PerObject`, where what is kept may refer to the object: both are then freed together.

    A table outside of the object can't do that: Python has no ephemerons. So it hangs on a function itself,
    as a private attribute; other objects have it in a `PerObject`.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._name = name
        self._make = make
        self._others: PerObject[T] = PerObject(make)
        self._lock = threading.Lock()

    def of(self, obj: object) -> T:
        """What is kept for `obj`; made at the first call."""
        if type(obj) is not types.FunctionType:  # nor a proxy, whose attributes are those of a function
            return self._others.of(obj)
        tag: _Tag[T] | None = obj.__dict__.get(self._name)
        if tag is None or tag.owner() is not obj:  # functools.wraps copies the attributes of functions
            made: _Tag[T] = _Tag(obj, self._make())
            with self._lock:
                tag = obj.__dict__.get(self._name)  # another thread may have been quicker
                if tag is None or tag.owner() is not obj:
                    tag = obj.__dict__[self._name] = made
        return tag.kept


class _Tag(Generic[T]):
    """What hangs on a function. Functions are pickled by value by some libraries: that leaves it behind."""

    def __init__(self, owner: types.FunctionType | None = None, kept: Any = None) -> None:
        self.owner: Callable[[], Any] = (lambda: None) if owner is None else weakref.ref(owner)
        self.kept: T = kept

    def __reduce__(self) -> tuple[Any, ...]:
        return _Tag, ()


R = TypeVar("R")
_HEAP_TYPE = 1 << 9  # the flag of Python's C API for what can be freed


class ByClass(dict[type, R], Generic[R]):
    """What `compute(cls)` says, remembered for each class; `table[cls]` is one look-up in C on a hit.

    A class that its module holds, or that is written in C, lives as long as the process and is kept here; any
    other (made in a function, say) is only held weakly, so that dropping it frees it.
    """

    def __init__(self, compute: Callable[[type], R]) -> None:
        super().__init__()
        self._compute = compute
        self._dropped_with_their_class: weakref.WeakKeyDictionary[type, R] = weakref.WeakKeyDictionary()

    def __missing__(self, cls: type) -> R:
        try:
            return self._dropped_with_their_class[cls]
        except KeyError:
            pass
        answer = self._compute(cls)
        in_c = not cls.__flags__ & _HEAP_TYPE  # that of functions, say, which no module holds
        if in_c or getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls:
            self[cls] = answer
        else:
            self._dropped_with_their_class[cls] = answer
        return answer

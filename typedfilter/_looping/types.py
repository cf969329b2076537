"""The type variables of loops and branches: what is carried, what a step sees, what it results in."""

from __future__ import annotations

from typing import TypeVar

from typing_extensions import TypeVarTuple

C = TypeVar("C")
X = TypeVar("X")
Y = TypeVar("Y")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

# SPDX-License-Identifier: MIT
"""How much a rich relation becomes to libsolv, which knows but lists of packages of each of which one must be there.

`(a and b) or (c and d)` becomes four lists, and each further pair doubles them. Must not know libsolv's pool.
"""

from __future__ import annotations

import functools
from typing import Callable, NamedTuple

from .rich import AND, IF, OR, Node

Providers = Callable[[Node], int]
_Size = tuple[int, int]  # how many lists there are, and how many packages in all of them


class _Sizes(NamedTuple):
    """The sizes as lists of packages one of which must be there, of each list, and all of which, of one list."""

    one_of_each: _Size
    all_of_one: _Size


def is_complex(node: Node) -> bool:
    """Whether a relation is more than the choice of one package."""
    return bool(node.operator) and (node.operator not in ("or", "with", "without") or any(map(is_complex, node.parts)))


def packages(node: Node, providers: Providers, *, conflict: bool) -> int:
    """How many packages all lists have that a relation becomes; `providers` tells how many a name stands for."""
    sizes = _sizes(node, providers)
    return (sizes.all_of_one if conflict else sizes.one_of_each)[1]


def _sizes(node: Node, providers: Providers) -> _Sizes:
    if not is_complex(node):
        number = max(1, _choices(node, providers))
        return _Sizes((1, number), (number, number))
    first, *rest = (_sizes(part, providers) for part in node.parts)
    if node.operator in (AND, OR):
        return functools.reduce(_and if node.operator == AND else _or, rest, first)
    condition, *otherwise = rest
    inner, outer = (_or, _and) if node.operator == IF else (_and, _or)
    found = inner(first, _Sizes(*reversed(condition)))  # not the condition
    return outer(found, inner(condition, otherwise[0])) if otherwise else found


def _choices(node: Node, providers: Providers) -> int:
    """How many packages a relation that is not complex may choose from, at most."""
    if not node.operator:
        return providers(node)
    return sum(_choices(part, providers) for part in (node.parts if node.operator == OR else node.parts[:1]))


def _and(one: _Sizes, other: _Sizes) -> _Sizes:
    return _Sizes(_added(one.one_of_each, other.one_of_each), _multiplied(one.all_of_one, other.all_of_one))


def _or(one: _Sizes, other: _Sizes) -> _Sizes:
    return _Sizes(_multiplied(one.one_of_each, other.one_of_each), _added(one.all_of_one, other.all_of_one))


def _added(one: _Size, other: _Size) -> _Size:
    return one[0] + other[0], one[1] + other[1]


def _multiplied(one: _Size, other: _Size) -> _Size:
    """Each list of the one put together with each of the other."""
    return one[0] * other[0], one[1] * other[0] + one[0] * other[1]

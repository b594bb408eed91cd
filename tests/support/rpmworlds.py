# SPDX-License-Identifier: MIT
"""Small random worlds of rpm packages, in the words of `support.rpmfeeds`; versions are numbers from 1 to 3."""

from __future__ import annotations

import random

_FORMS = ("({0} or {1})", "({0} and {1})", "({0} if {1})", "({0} or ({1} and {2}))")


class Draw:
    """Draws a world: the packages offered, those below, and what is asked for first and then.

    Without `weak` nothing is recommended or supplemented; without `below` nothing is installed.
    """

    def __init__(self, seed: int, *, weak: bool = True, below: bool = True, arch: str = "x86_64") -> None:
        self.random = random.Random(seed)
        self._weak, self._arch = weak, arch
        # What of such a relation is broken below has to stay so part by part, which is more than anybody asks for.
        self._forms = (
            "({0} or {1})",
            "({0} and {1})",
            "({0} if {1})",
            "({0} or ({1} and {2}))",
            "({0} if {1} else {2})",
        )
        self._names = [f"p{number}" for number in range(7)]
        drawn = {(self._pick(self._names), self._pick("123")) for _ in range(14)}
        self.offered = [self._package(*one) for one in sorted(drawn)]
        there = {self._pick(self._names): self._pick("12") for _ in range(self._pick((0, 0, 1, 2, 3)))} if below else {}
        self._forms = _FORMS
        self.below = [self._package(name, version) for name, version in sorted(there.items())]
        known = sorted({text.split()[0] for text in self.offered})
        self.wanted = self.random.sample(known, min(len(known), self._pick((1, 1, 2))))
        self.then = self.random.sample(known, min(len(known), self._pick((1, 1, 2))))

    def _pick(self, among):
        return self.random.choice(among)

    def _package(self, name: str, version: str) -> str:
        parts = [f"{name} {version} {self._arch}"]
        for word, chance, most in (("needs", 0.6, 3), ("likes", 0.3, 2), ("supplements", 0.1, 1)):
            if self.random.random() < chance and (self._weak or word == "needs"):
                wanted = (self._wanted(name) for _ in range(self.random.randint(1, most)))
                parts.append(f"{word} {', '.join(dict.fromkeys(wanted))}")
        if self.random.random() < 0.2:
            parts.append(f"conflicts {self._relation(name)}")
        if name == "p5" and self.random.random() < 0.6:
            parts.append(f"obsoletes {self._pick(('p0', 'p0 < 3', 'p1 < 2', 'p0, p1'))}")
        if self.random.random() < 0.3:
            parts.append(f"provides {self._pick(('v1', 'v2', 'v1 = 2', 'v1, v2 = 1', 'p0', 'p1 = 2'))}")
        if self.random.random() < 0.2:
            parts.append(f"files {self._pick(('/bin/f', '/usr/share/g'))}")
        return " ; ".join(parts)

    def _wanted(self, asker: str) -> str:
        if self.random.random() < 0.15:
            return self._pick(("/bin/f", "/usr/share/g"))
        if self.random.random() < 0.25:
            one, other, third = (self._relation(asker) for _ in range(3))
            return self._pick(self._forms).format(one, other, third)
        return self._relation(asker)

    def _relation(self, asker: str) -> str:
        name = self._pick([one for one in (*self._names, *self._names, "v1", "v2") if one != asker])
        if self.random.random() < 0.6:
            return name
        return f"{name} {self._pick(('<', '<=', '=', '>=', '>'))} {self._pick('123')}"

# SPDX-License-Identifier: MIT
"""What a build found out of files inside archives to decide what a layer holds, so that none is unpacked for it again.

Goes by the SHA-256 of a file's content. Must not know archives, or what the files are for.
"""

from __future__ import annotations

from typing import Any

_LARGEST = 8 << 20  # of a file whose bytes are kept
_TEXTS = 64 << 20  # of all such files


class Notes:
    """MD5 sums of files, and the bytes of small ones; `known` is what `to_json` gave in an earlier build."""

    def __init__(self, known: Any | None = None) -> None:
        self._known: dict[str, dict[str, str]] = {"md5": {}, "text": {}} if known is None else known
        self._md5: dict[str, str] = {}
        self._texts: dict[str, bytes] = {}
        self._room = _TEXTS

    def md5(self, digest: str) -> str | None:
        """The MD5 of the file with that SHA-256, both in hexadecimal."""
        known = self._known["md5"].get(digest)
        if known is not None:
            self._md5[digest] = known
        return self._md5.get(digest)

    def add_md5(self, digest: str, md5: str) -> None:
        self._md5[digest] = md5

    def text(self, digest: str) -> bytes | None:
        """The bytes of the file with that SHA-256."""
        known = self._known["text"].get(digest)
        if known is not None and digest not in self._texts:
            self.add_text(digest, known.encode("utf-8", "surrogateescape"))
        return self._texts.get(digest)

    def add_text(self, digest: str, data: bytes) -> None:
        """Take note of a file's bytes where there is room for them."""
        if len(data) <= min(_LARGEST, self._room):
            self._room -= len(data)
            self._texts[digest] = data

    def leave_all(self) -> None:
        """Have all that was known before in what `to_json` gives."""
        for digest in self._known["text"]:
            self.text(digest)
        for digest in self._known["md5"]:
            self.md5(digest)

    def to_json(self) -> Any | None:
        """What was asked for in this build; None where that is what was known before."""
        texts = {digest: data.decode("utf-8", "surrogateescape") for digest, data in self._texts.items()}
        value = {"md5": self._md5, "text": texts}
        return None if value == self._known else value

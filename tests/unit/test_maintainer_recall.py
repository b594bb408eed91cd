# SPDX-License-Identifier: MIT
"""What a run of scripts is known by, and what is kept of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from oe_oci.content import Literal
from oe_oci.delta import Delta
from oe_oci.memory import Memory
from oe_oci.packages.maintainer.recall import Done, Recall
from oe_oci.packages.maintainer.scripts import Script
from oe_oci.packages.recorded import EntryDigests
from oe_oci.store import Store
from oe_oci.tree import DIRECTORY, FILE, Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from oe_oci.content import Content

SCRIPT = Script("deb", "app", "all", "postinst", ("/bin/sh",), b"true\n")
# Each field with another value than that of SCRIPT.
CHANGED = {
    "kind": "ipk",
    "package": "other",
    "arch": "amd64",
    "name": "preinst",
    "interpreter": ("/bin/sh", "-e"),
    "data": b"false\n",
    "words": ("configure",),
    "input": b"line\n",
    "flags": 1,
    "instances": 2,
    "prefixes": ("/opt",),
}
ROOT = {"": Entry(DIRECTORY, 0o755)}


def text(data: bytes, **facts: Any) -> Entry:
    return Entry(FILE, 0o644, size=len(data), content=Literal(data), **facts)


@pytest.fixture
def recall(tmp_path: Path) -> Recall:
    return Recall(Memory(str(tmp_path)), Store(str(tmp_path)), str(tmp_path), lambda: ["offline"])


@pytest.mark.parametrize("field", Script._fields)
def test_all_that_a_script_is_counts(recall, field):
    other = SCRIPT._replace(**{field: CHANGED[field]})
    assert recall.key([SCRIPT], [], Tree(ROOT), []) != recall.key([other], [], Tree(ROOT), [])


def test_the_order_of_scripts_counts(recall):
    other = SCRIPT._replace(data=b"false\n")
    assert recall.key([SCRIPT, other], [], Tree(ROOT), []) != recall.key([other, SCRIPT], [], Tree(ROOT), [])


def test_what_scripts_see_counts(recall):
    """Every fact of every file, whose names are one, which packages come, and what the image does not have."""
    file = text(b"one")
    trees = [
        ROOT,
        *({**ROOT, "file": one} for one in (file, text(b"two"), file._replace(uid=1), file._replace(mtime=1))),
        {**ROOT, "file": file._replace(xattrs=(("user.a", b"1"),))},
        {**ROOT, "file": file, "link": file},
        {**ROOT, "file": file._replace(inode=1), "link": file._replace(inode=1)},
    ]
    keys = [recall.key([SCRIPT], [], Tree(tree), []) for tree in trees]
    keys.append(recall.key([SCRIPT], [SimpleNamespace(digest="00")], Tree(ROOT), []))
    keys.append(recall.key([SCRIPT], [], Tree(trees[1]), ["file"]))
    assert len(set(keys)) == len(keys)


def test_a_key_is_the_same_whatever_was_asked_before(recall, tmp_path):
    file, linked = text(b"one"), text(b"two", inode=1)
    trees = [
        {**ROOT, "file": file, "link": linked},
        {**ROOT, "a": linked, "file": file, "link": linked},
        {**ROOT, "file": text(b"1"), "link": linked},
    ]
    for tree in (*trees, trees[0]):
        fresh = Recall(Memory(str(tmp_path)), Store(str(tmp_path)), str(tmp_path), lambda: ["offline"])
        assert recall.key([SCRIPT], [], Tree(tree), []) == fresh.key([SCRIPT], [], Tree(tree), [])


def test_what_is_in_the_trees_of_many_keys_is_written_down_once():
    asked: list[Content] = []

    def digests(content: Content) -> bytes:
        asked.append(content)
        return b""

    entries, file = EntryDigests(digests), text(b"one")
    for number in range(9):
        assert len([*entries.of(Tree({**ROOT, "file": file, "other": text(b"%d" % number)}))]) == 3
    assert asked.count(file.content) == 1
    assert len(asked) == 10


def test_settings_are_asked_for_once_and_only_for_scripts(tmp_path):
    asked: list[int] = []
    recall = Recall(Memory(str(tmp_path)), Store(str(tmp_path)), str(tmp_path), lambda: asked.append(1))
    recall.begin()
    assert not asked
    for _ in range(2):
        recall.key([SCRIPT], [], Tree(ROOT), [])
    assert asked == [1]


def found(recall: Recall, before: dict[str, Entry], after: dict[str, Entry]) -> Done | None:
    """What is recalled of scripts that made one of the other, where no layer has any of it."""
    tree = Tree({**ROOT, **before})
    key = recall.key([SCRIPT], [], tree, [])
    recall.begin()
    recall.note(key, tree, Done({**ROOT, **after}, ("left",)))
    recall.keep(Delta({}, (), 0), "", "")
    return recall.find(key, tree)


def test_what_did_not_change_is_the_very_entry(recall):
    kept, moved = text(b"kept"), text(b"moved")
    done = found(recall, {"kept": kept, "old": moved, "gone": text(b"")}, {"kept": kept, "new": moved})
    assert done is not None
    assert done.left == ("left",)
    assert done.entries == {**ROOT, "kept": kept, "new": moved}
    assert done.entries["kept"] is kept
    assert done.entries["new"].content is moved.content


def test_names_of_one_inode_are_no_others(recall):
    one, other = text(b"same", inode=1), text(b"same", inode=2)
    done = found(recall, {}, {"a": one, "b": one, "c": other, "d": other})
    assert done is not None
    inodes = [done.entries[name].inode for name in "abcd"]
    assert inodes[0] == inodes[1] != inodes[2] == inodes[3]
    assert None not in inodes


def test_a_further_name_of_a_file_that_was_there_is_not_recalled(recall):
    one = text(b"one", inode=1)
    assert found(recall, {"a": one, "b": one}, {"a": one, "b": one, "c": one}) is None


@pytest.mark.parametrize(("size", "kept"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_what_no_layer_has_is_kept_where_it_is_small(recall, size, kept):
    done = found(recall, {}, {"file": text(bytes(size))})
    assert (done is not None) == kept


def test_what_is_not_kept_is_forgotten_with_its_layer(recall):
    """As where the layer could not be written, or only a plan is made."""
    tree = Tree(ROOT)
    key = recall.key([SCRIPT], [], tree, [])
    recall.note(key, tree, Done({**ROOT, "file": text(b"one")}))
    recall.begin()
    recall.keep(Delta({}, (), 0), "", "")
    assert recall.find(key, tree) is None

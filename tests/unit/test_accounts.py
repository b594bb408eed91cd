# SPDX-License-Identifier: MIT
"""Declared users and groups in the image's own files."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.trees import directory, entries, file, link, tree, with_parents

from oe_oci.accounts import Names, Owners, add_accounts, read_names
from oe_oci.config import Accounts, Group, User
from oe_oci.content import Content, Literal, content_digest, pieces
from oe_oci.delta import apply, diff
from oe_oci.errors import ConfigError, InputError
from oe_oci.populate import Wanted
from oe_oci.tree import Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = b"root:x:0:0:root:/root:/bin/bash\ngames:x:5:60:games:/usr/games:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\ngames:x:60:\nmedia:x:600:games\n"
SHADOW = b"root:*:19000:0:99999:7:::\ngames:*:19000:0:99999:7:::\n"
IMAGE = tree(etc__passwd=PASSWD, etc__group=GROUP, etc__shadow=file(SHADOW, 0o640, gid=42))
NOTHING = Wanted({})


def user(name: str, uid: int, group: str = "", home: str = "/nonexistent", shell: str = "/usr/sbin/nologin") -> User:
    return User(name, uid, group, home, shell)


def declared(*both: User | Group) -> Accounts:
    users = tuple(one for one in both if isinstance(one, User))
    return Accounts(users, tuple(one for one in both if isinstance(one, Group)))


SHOP = declared(user("shop", 500, home="/srv/shop"))
SHOP_LINE = "shop:x:500:500::/srv/shop:/usr/sbin/nologin\n"


def text(entry: Entry | None) -> str:
    assert entry is not None
    assert entry.content is not None
    found = b"".join(bytes(piece) for piece in pieces(entry.content))
    assert len(found) == entry.size
    return found.decode("utf-8", "surrogateescape")


def added(accounts: Accounts, wanted: Wanted = NOTHING, lower: Tree = IMAGE, **how) -> Wanted:
    def same(one: Content, other: Content) -> bool:
        return content_digest(one) == content_digest(other)

    return add_accounts(accounts, wanted, lower, same, **{"asked": None, "epoch": 7, **how})


def final(accounts: Accounts, wanted: Wanted = NOTHING, lower: Tree = IMAGE, **how) -> Tree:
    """What the image is with the layer on top."""
    found = added(accounts, wanted, lower, **how)
    whole = Tree(lower.entries)
    delta = diff(whole, found.entries, found.removed, lambda one, other: one == other)
    apply(whole, delta)
    return whole


def refused(accounts: Accounts, lower: Tree = IMAGE, **how) -> str:
    with pytest.raises(ConfigError) as raised:
        added(accounts, lower=lower, **how)
    return str(raised.value)


class TestFiles:
    def test_lines_follow_those_of_the_image(self) -> None:
        found = added(SHOP).entries
        assert list(found) == ["etc/passwd", "etc/group", "etc/shadow"]
        assert text(found["etc/passwd"]) == PASSWD.decode() + SHOP_LINE
        assert text(found["etc/group"]) == GROUP.decode() + "shop:x:500:\n"
        assert text(found["etc/shadow"]) == SHADOW.decode() + "shop:!:::::::\n"

    def test_a_file_keeps_its_facts_but_the_time(self) -> None:
        found = added(SHOP).entries["etc/shadow"]
        assert (found.mode, found.gid, found.mtime) == (0o640, 42, 7)

    def test_the_layers_own_file_counts(self) -> None:
        wanted = Wanted(entries(etc__passwd=b"root:x:0:0::/:/bin/sh"))
        found = added(SHOP, wanted).entries
        assert text(found["etc/passwd"]) == "root:x:0:0::/:/bin/sh\n" + SHOP_LINE
        assert text(wanted.entries["etc/passwd"]) == "root:x:0:0::/:/bin/sh"

    def test_files_lie_where_links_lead(self) -> None:
        lower = tree(etc="usr/etc", usr__etc__passwd="../lib/passwd", usr__lib__passwd=PASSWD, usr__etc__group=GROUP)
        assert list(added(SHOP, lower=lower).entries) == ["usr/lib/passwd", "usr/etc/group", "usr/etc/shadow"]

    def test_absent_files_begin_with_root(self) -> None:
        found = added(SHOP, lower=Tree()).entries
        assert sorted(found) == ["", "etc", "etc/group", "etc/passwd", "etc/shadow"]
        assert found["etc"] == found[""] == directory(mtime=7)
        assert text(found["etc/passwd"]) == "root:x:0:0:root:/root:/bin/sh\n" + SHOP_LINE
        assert text(found["etc/group"]) == "root:x:0:\nshop:x:500:\n"
        assert text(found["etc/shadow"]) == "root:!:::::::\nshop:!:::::::\n"
        assert [found[f"etc/{name}"].mode for name in ("passwd", "group", "shadow")] == [0o644, 0o644, 0o640]
        assert found["etc/shadow"].mtime == 7

    def test_a_dangling_link_leads_to_the_new_file(self) -> None:
        found = added(SHOP, lower=tree(etc__passwd="/usr/share/passwd")).entries
        assert text(found["usr/share/passwd"]).endswith(SHOP_LINE)
        assert "usr/share" in found

    def test_a_made_shadow_has_all_whose_passwords_it_is_to_hold(self) -> None:
        lower = tree(etc__passwd=PASSWD + b"open::9:9::/:/bin/sh\nodd\n", etc__group=GROUP)
        found = text(added(SHOP, lower=lower).entries["etc/shadow"])
        assert found == "root:!:::::::\ngames:!:::::::\nshop:!:::::::\n"

    def test_gshadow_only_where_there_is_one(self) -> None:
        accounts = declared(*SHOP.users, Group("media", 600, ("shop",)), Group("www", 33, ("shop",)))
        lower = Tree({**IMAGE.entries, "etc/gshadow": file(b"root:*::\nmedia:!::games", 0o640)})
        found = text(added(accounts, lower=lower).entries["etc/gshadow"])
        assert found == "root:*::\nmedia:!::games,shop\nwww:!::shop\nshop:!::\n"

    def test_lines_of_another_form_stay(self) -> None:
        odd = b"# \xff\n+@nis::::::\nshop\nshop:x:many:1::/:/bin/sh\n\n::::::\n"
        found = added(SHOP, lower=tree(etc__passwd=odd, etc__group=b"shop:x\n+:::\n")).entries
        assert text(found["etc/passwd"]) == odd.decode("utf-8", "surrogateescape") + SHOP_LINE
        assert text(found["etc/group"]) == "shop:x\n+:::\nshop:x:500:\n"

    def test_a_hard_linked_file_is_cut_loose(self) -> None:
        linked = file(PASSWD, inode="one")
        lower = Tree(with_parents({"etc/passwd": linked, "etc/passwd-": linked, "etc/group": file(GROUP)}))
        found = final(SHOP, lower=lower)
        assert text(found.entry("etc/passwd")).endswith(SHOP_LINE)
        assert text(found.entry("etc/passwd-")) == PASSWD.decode()

    @pytest.mark.parametrize(
        "lower",
        [
            tree(etc__passwd=directory()),
            tree(etc__passwd="passwd"),
            tree(etc=b"file"),
            tree(etc="etc"),
            tree(etc__passwd=PASSWD, etc__group=GROUP, etc__shadow=directory()),
        ],
    )
    def test_something_else_in_a_files_place_is_an_error(self, lower: Tree) -> None:
        with pytest.raises(InputError, match="OCI_IMAGE_ACCOUNTS needs a"):
            added(SHOP, lower=lower)

    def test_a_file_far_too_large_is_not_read(self) -> None:
        lower = Tree(with_parents({"etc/passwd": file()._replace(size=1 << 30, content=Literal(b""))}))
        with pytest.raises(InputError, match="too many for a file of accounts"):
            added(SHOP, lower=lower)

    def test_a_removed_file_is_made_anew(self) -> None:
        found = final(SHOP, Wanted({}, ("etc/passwd",)))
        assert text(found.entry("etc/passwd")) == "root:x:0:0:root:/root:/bin/sh\n" + SHOP_LINE

    def test_a_removed_folder_is_made_anew_and_what_was_in_it_is_gone(self) -> None:
        lower = Tree({**IMAGE.entries, **entries(etc__ssl__ca=b"", etc__motd=b"", usr__lib=b"")})
        found = final(SHOP, Wanted({}, ("etc",)), lower)
        assert sorted(found.entries) == ["", "etc", "etc/group", "etc/passwd", "etc/shadow", "usr", "usr/lib"]


class TestAccounts:
    def test_of_no_declaration_nothing_is_read(self) -> None:
        assert added(Accounts(), lower=tree(etc__passwd=directory())) is NOTHING

    def test_an_account_that_is_there_stays_as_it_is(self) -> None:
        accounts = declared(user("games", 5, home="/home", shell="/bin/sh"), Group("media", 600))
        assert added(accounts).entries == {}

    @pytest.mark.parametrize("group", [b"nogroup:x:65534:\n", b"nobody:x:99:\nnogroup:x:65534:\n", b"nobody:x:99:\n"])
    def test_a_user_that_is_there_keeps_its_group(self, group: bytes) -> None:
        lower = tree(etc__passwd=b"nobody:x:65534:65534::/nonexistent:/bin/sh\n", etc__group=group)
        assert added(declared(user("nobody", 65534)), lower=lower).entries == {}

    def test_an_account_that_is_there_gets_members(self) -> None:
        found = added(declared(*SHOP.users, Group("media", 600, ("games", "shop", "root")))).entries
        assert text(found["etc/group"]) == "root:x:0:\ngames:x:60:\nmedia:x:600:games,shop,root\nshop:x:500:\n"

    @pytest.mark.parametrize(
        ("group", "gid", "line"),
        [("media", 600, ""), ("60", 60, ""), ("77", 77, ""), ("new", 88, "new:x:88:\n")],
    )
    def test_the_group_of_a_user(self, group: str, gid: int, line: str) -> None:
        found = final(declared(user("shop", 500, group), *([Group("new", 88)] if line else [])))
        assert text(found.entry("etc/passwd")).splitlines()[-1].split(":")[3] == str(gid)
        assert text(found.entry("etc/group")) == GROUP.decode() + line

    def test_a_declared_group_of_the_users_name(self) -> None:
        found = final(declared(*SHOP.users, Group("shop", 700)))
        assert "shop:x:500:700:" in text(found.entry("etc/passwd"))
        assert text(found.entry("etc/group")).endswith("\nshop:x:700:\n")

    def test_root_may_be_declared(self) -> None:
        found = final(declared(user("root", 0)), lower=Tree())
        assert text(found.entry("etc/passwd")) == "root:x:0:0:root:/root:/bin/sh\n"
        assert text(found.entry("etc/group")) == "root:x:0:\n"
        assert text(found.entry("etc/shadow")) == "root:!:::::::\n"

    def test_every_clash_is_named_with_what_to_do(self) -> None:
        accounts = declared(
            *(user("root", 1), user("play", 5, "media"), user("media", 70), user("o", 60), user("lost", 71, "medai")),
            *(Group("games", 61), Group("other", 0, ("shpo", "rott", "play"))),
        )
        assert refused(accounts).splitlines() == [
            "OCI_IMAGE_ACCOUNTS: the user 'root' is to have number 1; in the image it has 0",
            "  write user:root:0, or another name",
            "OCI_IMAGE_ACCOUNTS: the user 'play' is to have number 5; in the image that is the user 'games'",
            "  write another number",
            "OCI_IMAGE_ACCOUNTS: the group 'games' is to have number 61; in the image it has 60",
            "  write group:games:60, or another name",
            "OCI_IMAGE_ACCOUNTS: the group 'other' is to have number 0; in the image that is the group 'root'",
            "  write another number",
            "OCI_IMAGE_ACCOUNTS: the group 'media' of a user is to have number 70; in the image it has 600",
            "  write user:media:70:600",
            "OCI_IMAGE_ACCOUNTS: the group 'o' of a user is to have number 60; in the image that is the group 'games'",
            "  write user:o:60:games, or another number",
            "OCI_IMAGE_ACCOUNTS: the user 'lost': there is no group 'medai' in the image",
            "  did you mean media?",
            "OCI_IMAGE_ACCOUNTS: the group 'other': its member 'shpo' is no user of the image",
            "  declare it: user:shpo:NUMBER",
            "OCI_IMAGE_ACCOUNTS: the group 'other': its member 'rott' is no user of the image",
            "  did you mean root?",
        ]


class TestPlaces:
    """Which layer an account is written into."""

    ACCOUNTS = declared(
        *(user("shop", 500), user("www", 33, "web"), user("bob", 1000, "600")),
        *(Group("web", 34), Group("media", 600, ("www",)), Group("backup", 35)),
    )

    def names(self, wanted: Wanted, lower: Tree = IMAGE, **how) -> tuple[set[str], set[str]]:
        found = final(self.ACCOUNTS, wanted, lower, **{"asked": Owners(), **how})
        there, before = read_names(found), read_names(lower)
        return there.users.keys() - before.users.keys(), there.groups.keys() - before.groups.keys()

    def test_a_layer_that_needs_none(self) -> None:
        wanted = Wanted(entries(usr__bin__sh=b""))
        assert added(self.ACCOUNTS, wanted, asked=Owners()) == wanted

    @pytest.mark.parametrize(
        ("owned", "users", "groups"),
        [
            ({"uid": 500}, {"shop"}, {"shop"}),
            ({"gid": 500}, {"shop"}, {"shop"}),
            ({"uid": 33}, {"www"}, {"web"}),
            ({"gid": 34}, set(), {"web"}),
            ({"uid": 1000, "gid": 35}, {"bob"}, {"backup"}),
            ({"uid": 34, "gid": 1000}, set(), set()),
        ],
    )
    def test_owners(self, owned: dict[str, int], users: set[str], groups: set[str]) -> None:
        assert self.names(Wanted(entries(srv__x=directory(**owned)))) == (users, groups)

    def test_what_is_below_already_needs_nothing(self) -> None:
        lower = Tree({**IMAGE.entries, **entries(srv__a=file(b"a", uid=500))})
        same = file(b"a", uid=500, mtime=9)._replace(content=_Apart(b"a"))
        for entry, users in ((same, set()), (file(b"b", uid=500), {"shop"}), (file(b"a", 0o600, uid=500), {"shop"})):
            assert self.names(Wanted(with_parents({"srv/a": entry})), lower)[0] == users

    def test_owners_by_name(self) -> None:
        for asked, users, groups in (
            (Owners(["shop"]), {"shop"}, {"shop"}),
            (Owners(groups=["shop"]), {"shop"}, {"shop"}),
            (Owners(groups=["web", "media"]), set(), {"web"}),
            (Owners(["www"]), {"www"}, {"web"}),
            (Owners(["games"], ["nobody"]), set(), set()),
        ):
            assert self.names(NOTHING, asked=asked) == (users, groups)

    def test_a_user_becomes_a_member_with_its_layer(self) -> None:
        one = final(self.ACCOUNTS, asked=Owners(["www"]))
        assert "media:x:600:games,www\n" in text(one.entry("etc/group"))

    def test_the_last_layer_gets_what_is_missing(self) -> None:
        assert self.names(NOTHING, asked=None) == ({"shop", "www", "bob"}, {"shop", "web", "backup"})

    def test_a_later_layer_writes_nothing_twice(self) -> None:
        one = final(self.ACCOUNTS)
        assert added(self.ACCOUNTS, Wanted(entries(srv__x=file(uid=500))), one).entries.keys() == {"", "srv", "srv/x"}

    def test_a_layer_that_replaces_a_file_keeps_the_accounts(self) -> None:
        one = final(self.ACCOUNTS, asked=Owners(["shop"]))
        for name, plain in (("passwd", PASSWD), ("group", GROUP), ("shadow", SHADOW)):
            two = final(self.ACCOUNTS, Wanted(with_parents({f"etc/{name}": file(plain)})), one, asked=Owners())
            assert read_names(two) == read_names(one), name
        two = final(self.ACCOUNTS, Wanted(entries(etc__passwd=PASSWD, etc__group=GROUP, etc__shadow=SHADOW)), one)
        assert text(two.entry("etc/shadow")).count("shop:!:") == 1


class _Apart(Literal):
    """The same bytes at another place."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


class TestNames:
    def test_of_the_image(self) -> None:
        assert read_names(IMAGE) == Names({"root": 0, "games": 5}, {"root": 0, "games": 60, "media": 600})

    def test_of_no_image(self) -> None:
        assert read_names(Tree()) == Names({}, {})
        assert read_names(tree(etc__passwd=directory(), etc__group="group")) == Names({}, {})

    def test_the_first_line_holds_and_others_are_passed_over(self) -> None:
        odd = b"a:x:1:1::/:\na:x:2:2::/:\nb:x:\xd9\xa3:1::/:\nc:x:-1:1::/:\nd:x:3\n\xff:x:4:4::/:"
        assert read_names(tree(etc__passwd=odd)).users == {"a": 1, "\udcff": 4}

    def test_with_those_declared(self) -> None:
        accounts = declared(user("games", 9), user("shop", 500), Group("media", 1), Group("web", 2))
        found = read_names(IMAGE, accounts)
        assert found.users == {"root": 0, "games": 5, "shop": 500}
        assert found.groups == {"root": 0, "games": 60, "media": 600, "web": 2, "shop": 500}

    def test_through_links(self) -> None:
        assert read_names(tree(etc__passwd=link("../p"), p=PASSWD)).users == {"root": 0, "games": 5}


@pytest.mark.parametrize(
    "lower",
    [IMAGE, Tree(), tree(etc__passwd=PASSWD, etc__group=GROUP, etc__gshadow=b"root:*::\ngames:!::\nmedia:!::games\n")],
)
def test_the_tools_of_the_system_take_the_files(lower: Tree, tmp_path: Path) -> None:
    if not (shutil.which("pwck") and shutil.which("grpck") and os.geteuid() == 0):
        pytest.skip("needs pwck, grpck and root, to change the root directory")
    accounts = declared(
        *(*SHOP.users, user("www", 33, "web"), user("odd_-$", 4294967294, "0")),
        *(Group("web", 34), Group("media", 600, ("www", "shop")), Group("backup", 35, ("root",))),
    )
    one = final(accounts, lower=lower, asked=Owners(["shop"], ["web"]))
    for number, whole in enumerate((one, final(accounts, lower=one))):
        root = tmp_path / str(number)
        for path in ("etc", "root", "srv/shop", "usr/games", "usr/sbin", "bin"):
            (root / path).mkdir(parents=True)
        for path in ("bin/sh", "bin/bash", "usr/sbin/nologin"):
            (root / path).touch(0o755)
        (root / "etc" / "login.defs").write_text("NONEXISTENT /nonexistent\n")  # as Debian has it
        for name in ("passwd", "group", "shadow", "gshadow"):
            if f"etc/{name}" in whole:
                (root / "etc" / name).write_text(text(whole.entry(f"etc/{name}")))
        for program in ("pwck", "grpck"):
            done = subprocess.run([program, "-r", "-R", root], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

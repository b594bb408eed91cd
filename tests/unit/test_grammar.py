# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from oe_oci.config import HostCopy, HostLayer, PackagesLayer, PathsLayer
from oe_oci.configure.grammar import parse_layers, split_content
from oe_oci.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "items"),
    [
        ("busybox", ["busybox"]),
        ("a+b+c", ["a", "b", "c"]),
        ("a,b,c", ["a", "b", "c"]),
        ("a,b,", ["a", "b"]),
        ("a,", ["a"]),
        ("libstdc++", ["libstdc++"]),
        ("libstdc++6", ["libstdc++6"]),
        ("libgcc+libstdc++6+g+++make", ["libgcc", "libstdc++6", "g++", "make"]),
        ("g++,a+b,make", ["g++", "a+b", "make"]),
        ("g++++,make", ["g++++", "make"]),
        ("a+b,", ["a+b"]),
        ("g+++", ["g++", ""]),
        ("+++a", ["++", "a"]),
        ("++", ["++"]),
        ("+", ["", ""]),
        (",", [""]),
        (",a", ["", "a"]),
        ("a,,b", ["a", "", "b"]),
        ("a,,", ["a", ""]),
    ],
)
def test_split(content: str, items: list[str]) -> None:
    assert split_content(content) == items


@pytest.mark.parametrize("signs", ["++++", "+++++", "++++++++"])
def test_four_signs_and_more_are_ambiguous(signs: str) -> None:
    with pytest.raises(ConfigError, match="is ambiguous"):
        split_content(f"a{signs}b")


def test_every_type() -> None:
    text = """
        base:packages:base-files+libstdc++6
        app:directories:/opt/app,/srv//data/./
        motd:files:/etc/motd
        host:host:/src:1/ca.crt:/etc/ssl/,conf/app.conf:/etc/app.conf,./x:/,../y:/y
    """
    layers, faults, notes = parse_layers(text, "/project")
    assert not faults
    assert not notes
    assert layers == (
        PackagesLayer("base", ("base-files", "libstdc++6")),
        PathsLayer("app", "directories", ("/opt/app", "/srv/data")),
        PathsLayer("motd", "files", ("/etc/motd",)),
        HostLayer(
            "host",
            (
                HostCopy("/src:1/ca.crt", "/etc/ssl/", "/src:1/ca.crt"),
                HostCopy("/project/conf/app.conf", "/etc/app.conf", "conf/app.conf"),
                HostCopy("/project/x", "/", "./x"),
                HostCopy("/project/../y", "/y", "../y"),
            ),
        ),
    )


def test_the_whole_rootfs_is_a_directory() -> None:
    assert parse_layers("all:directories:/", "/").layers == (PathsLayer("all", "directories", ("/",)),)


def test_what_is_there_twice_is_taken_once_with_a_note() -> None:
    layers, faults, notes = parse_layers("a:packages:x,y,x b:directories:/opt,/opt/ c:packages:x", "/")
    assert not faults
    assert [layer[1:] for layer in layers] == [
        (("x", "y"), "packages"),
        ("directories", ("/opt",)),
        (("x",), "packages"),
    ]
    assert notes == (
        "entry 'a:packages:x,y,x': 'x' is there twice",
        "entry 'b:directories:/opt,/opt/': '/opt/' is there twice",
    )


def test_layers_without_fault_are_kept_beside_faulty_ones() -> None:
    layers, faults, _ = parse_layers("a:packages:x b:packages:/x c:packages:z", "/")
    assert [layer.name for layer in layers] == ["a", "c"]
    assert [fault.message for fault in faults] == ["entry 'b:packages:/x': '/x' is not a package's name"]


def test_a_package_of_an_architecture():
    (layer,), faults, _ = parse_layers("a:packages:libc6:i386,libstdc++6:armhf,zlib1g", "/")
    assert faults == ()
    assert layer.packages == ("libc6:i386", "libstdc++6:armhf", "zlib1g")
    faults = parse_layers("a:packages:libc6:I386,libc6:", "/").faults
    assert [fault.message.rpartition(": ")[2] for fault in faults] == [
        "'libc6:I386' is not a package's name",
        "'libc6:' is not a package's name",
    ]


def test_nothing_is_no_layer() -> None:
    assert parse_layers(" \n\t ", "/") == ((), (), ())

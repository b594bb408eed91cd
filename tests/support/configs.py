# SPDX-License-Identifier: MIT
"""A configuration with a value for everything, for tests that set a few of them."""

from __future__ import annotations

from oe_oci.config import Accounts, AutoLabels, Compression, Config, Names, PackageSettings, RunConfig
from oe_oci.oci.spec import Platform

PACKAGES = PackageSettings(
    kind=None,
    feeds=(),
    archs=None,
    native="amd64",
    recommends=True,
    bad_recommendations=(),
    exclude=(),
    database="keep",
)


def config(**fields) -> Config:
    values = {
        "names": Names("app", "app-latest", "latest", "localhost/app:latest"),
        "platform": Platform("linux", "amd64"),
        "layers": (),
        "base": None,
        "run": RunConfig(default_cmd=("/bin/sh",)),
        "author": "",
        "annotations": (),
        "auto_labels": AutoLabels(None, None, None, None),
        "labels_from": None,
        "keep_empty": False,
        "host_owner": (0, 0),
        "path_rules": (),
        "packages": PACKAGES,
        "accounts": Accounts(),
        "compression": Compression("gzip", None, "auto"),
        "archives": False,
        "archive_compression": "",
        "epoch": 0,
        "rootfs": None,
        "deploy_dir": "deploy",
        "cache_dir": None,
    }
    return Config(**{**values, **fields})

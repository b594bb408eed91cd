# SPDX-License-Identifier: MIT
"""The class at parse time and in its task, over a datastore that expands and overrides as BitBake's does."""

from __future__ import annotations

import inspect
import os
import sys
import types
from pathlib import Path

import pytest
from support.configs import PACKAGES
from support.datastore import Class, DataStore, Fatal, SkipRecipe, stand_in

import oe_oci.bitbake
import oe_oci.bitbake_task
from oe_oci.bbconf import read_conf
from oe_oci.bitbake import configuration, sources
from oe_oci.bitbake_task import image_conf, owned
from oe_oci.configure import configure
from oe_oci.configure.variables import TABLE

LAYERS = "base:packages:base-files+busybox app:packages:libstdc++6, site:directories:/srv"
# Of which the class has a value of its own, or none.
OTHERWISE = {
    "OCI_ROOTFS_LAYER",
    "OCI_LAYER_CACHE_DIR",
    "OCI_WORK_DIR",
    "OCI_PACKAGE_DATABASE",
    "OCI_IMAGE_AUTHOR",
    "OCI_IMAGE_AUTHOR_EMAIL",
}


@pytest.fixture(autouse=True)
def bb(monkeypatch):
    """BitBake's module, and what of openembedded-core is called; returns what was said."""
    module = stand_in()
    monkeypatch.setitem(sys.modules, "bb", module)
    for name in ("INTERCEPT_DIR", "NATIVE_ROOT"):
        monkeypatch.setenv(name, "")  # and back again
    packagedata = types.ModuleType("oe.packagedata")
    packagedata.get_package_mapping = lambda name, _base, _d: {"libfoo": "libfoo1"}.get(name, name)
    packagedata.read_pkgdatafile = read_pkgdata
    monkeypatch.setitem(sys.modules, "oe", types.ModuleType("oe"))
    monkeypatch.setitem(sys.modules, "oe.packagedata", packagedata)
    return module


def read_pkgdata(path):
    with open(path, encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(": ", 1) for line in lines)


def recipe(tmp_path, **values):
    """A recipe's datastore before it inherits the class."""
    work = tmp_path / "work"
    return DataStore(
        {
            "PN": "app",
            "PV": "2.1",
            "FILE": str(tmp_path / "app.bb"),
            "WORKDIR": str(work),
            "TOPDIR": str(tmp_path / "build"),
            "MACHINE": "qemu",
            "IMAGE_BASENAME": "${PN}",
            "IMAGE_NAME": "app-qemu.rootfs-${DATETIME}",
            "DATETIME": "20261129",
            "STAGING_DIR_NATIVE": str(tmp_path / "native"),
            "IMAGE_NAME_SUFFIX": ".rootfs",
            "IMAGE_FSTYPES": "container oci",
            "IMAGE_PKGTYPE": "ipk",
            "PACKAGE_ARCHS": "all core2-64 qemu",
            "IMAGE_ROOTFS": str(work / "rootfs"),
            "IMGDEPLOYDIR": str(work / "deploy"),
            "DEPLOY_DIR_IMAGE": str(tmp_path / "images"),
            "TARGET_ARCH": "x86_64",
            "TUNE_FEATURES": "m64",
            "IMAGE_INSTALL": "tools",
            "ROOTFS_BOOTSTRAP_INSTALL": "run-postinsts",
            "PATCH_GIT_USER_NAME": "Yocto",
            "PATCH_GIT_USER_EMAIL": "yocto@example.org",
            "OE_OCI_LAYERDIR": str(tmp_path / "layer"),
            "REPRODUCIBLE_TIMESTAMP_ROOTFS": "1700000000",
            **values,
        }
    )


def inherited(tmp_path, **values):
    d = recipe(tmp_path, **values)
    Class("image-oci").inherit(d)
    return d


def flags(d, flag):
    return (d.getVarFlag("do_image_oci", flag) or "").split()


def test_older_bitbakes_find_the_source_of_all_they_may_call():
    modules = (oe_oci.bitbake, oe_oci.bitbake_task)
    public = [value for one in modules for name, value in vars(one).items() if not name.startswith("_")]
    found = [value for value in public if callable(value)]
    assert all(inspect.getsourcefile(value) for value in found)


# ---- the class's variables


def test_the_class_has_the_defaults_of_the_table():
    theirs = {name: value for name, flag, operator, value in Class("image-oci").assignments if operator == "?="}
    ours = {one.name: one.default for one in TABLE if one.name.startswith("OCI_") and one.default is not None}
    assert {name: theirs.get(name) for name in ours if name not in OTHERWISE} == {
        name: value for name, value in ours.items() if name not in OTHERWISE
    }
    assert set(theirs) <= {one.name for one in TABLE}


def test_the_database_is_kept_with_package_management_only(tmp_path):
    assert inherited(tmp_path).getVar("OCI_PACKAGE_DATABASE") == "remove"
    kept = inherited(tmp_path, IMAGE_FEATURES="ssh package-management")
    assert kept.getVar("OCI_PACKAGE_DATABASE") == "keep"


# ---- when the recipe is read


def test_a_recipe_without_the_image_type_is_left_alone(tmp_path, bb):
    d = inherited(tmp_path, IMAGE_FSTYPES="tar.bz2", OCI_LAYERS="not a layer", OCI_NONSENSE="1")
    assert (flags(d, "depends"), flags(d, "prefuncs"), bb.said) == ([], [], [])
    assert d.getVar("ROOTFS_BOOTSTRAP_INSTALL") == "run-postinsts"


def test_every_fault_is_told_with_recipe_and_variable(tmp_path):
    with pytest.raises(Fatal) as refused:
        inherited(tmp_path, OCI_LAYERS="a:package:x b:files:etc", OCI_IMAGE_PORTS="99999")
    assert str(refused.value).splitlines() == [
        "app: OCI_IMAGE_PORTS: '99999': there is no port 99999",
        "  ports go from 1 to 65535",
        "app: OCI_LAYERS: entry 'a:package:x': unknown layer type 'package'",
        "  did you mean packages?",
        "app: OCI_LAYERS: entry 'b:files:etc': 'etc' is not an absolute path",
        "  write the path in the image, from '/'",
    ]


def test_a_remote_base_is_refused_with_the_recipe_to_write(tmp_path):
    with pytest.raises(Fatal) as refused:
        inherited(tmp_path, OCI_BASE_IMAGE="docker.io/library/alpine:3.19")
    assert str(refused.value).startswith("app: OCI_BASE_IMAGE: 'docker.io/library/alpine:3.19' is a remote image")
    assert 'CONTAINER_BUNDLES = "docker.io/library/alpine:3.19"' in str(refused.value)


@pytest.mark.parametrize("more", [{"OCI_LAYERS": LAYERS}, {"OCI_BASE_IMAGE": "app-base"}])
def test_sloci_makes_one_layer_without_a_base(more, tmp_path):
    with pytest.raises(Fatal, match=f"OCI_IMAGE_BACKEND: 'sloci-image' excludes {next(iter(more))}"):
        inherited(tmp_path, OCI_IMAGE_BACKEND="sloci-image", **more)


def test_a_machine_without_an_architecture_of_images_skips_the_recipe(tmp_path):
    with pytest.raises(SkipRecipe, match="app: TARGET_ARCH: no architecture of images is known for 'riscv32'"):
        inherited(tmp_path, TARGET_ARCH="riscv32")


def test_unknown_variables_are_warned_of_with_what_may_be_meant(tmp_path, bb):
    inherited(tmp_path, OCI_IMAGE_LABLES="a=b", OCI_MULTIARCH_RECIPE="x", OCI_OWN="c=d", OCI_IMAGE_LABELS="${OCI_OWN}")
    assert bb.said == [("warn", "app: OCI_IMAGE_LABLES: unknown variable; did you mean OCI_IMAGE_LABELS?")]


def test_files_of_the_host_are_warned_of_once(tmp_path, bb):
    layers = "keys:host:/etc/keys/ca.crt:/etc/ssl/,conf/app:/etc/app"
    inherited(tmp_path, OCI_LAYERS=layers)
    warning = f"app: OCI_LAYERS: layer 'keys' takes files of this machine: /etc/keys/ca.crt, {tmp_path}/conf/app"
    assert bb.said == [("warn", warning)]
    inherited(tmp_path, OCI_LAYERS=layers, BB_WORKERCONTEXT="1")
    assert len(bb.said) == 1


def test_packages_of_layers_are_installed_in_the_rootfs_too(tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS)
    assert d.getVar("IMAGE_INSTALL").split() == ["tools", "base-files", "busybox", "libstdc++6"]


@pytest.mark.parametrize(
    ("kind", "recipes"),
    [
        ("ipk", {"opkg-native", "opkg-utils-native"}),
        ("rpm", {"rpm-native", "dnf-native", "createrepo-c-native"}),
        ("deb", {"dpkg-native", "apt-native"}),
    ],
)
def test_only_the_tools_that_are_used_are_built(kind, recipes, tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, IMAGE_PKGTYPE=kind, OCI_PACKAGE_MANAGER="native")
    assert set(flags(d, "depends")) == {f"{recipe}:do_populate_sysroot" for recipe in recipes}
    assert flags(inherited(tmp_path, IMAGE_PKGTYPE=kind), "depends") == []
    paths = inherited(tmp_path, IMAGE_PKGTYPE=kind, OCI_LAYERS="site:directories:/srv")
    assert flags(paths, "depends") == []


@pytest.mark.parametrize(
    ("settings", "manager"),
    [
        ({}, "rootfs"),
        ({"OCI_ROOTFS_LAYER": "last"}, "rootfs"),
        ({"OCI_ROOTFS_LAYER": ""}, "native"),  # what no package has would be lost
        ({"OCI_PACKAGE_DATABASE": "top"}, "native"),
        ({"IMAGE_FEATURES": "package-management"}, "native"),
        ({"IMAGE_FEATURES": "package-management", "OCI_PACKAGE_DATABASE": "remove"}, "rootfs"),
    ],
)
def test_layers_are_cut_from_the_rootfs_where_nothing_is_lost_by_it(settings, manager, tmp_path):
    assert written(inherited(tmp_path, OCI_LAYERS=LAYERS, **settings), tmp_path).get("OCI_PACKAGE_MANAGER") == manager


@pytest.mark.parametrize(
    ("manager", "asked", "given"),
    [
        ("builtin", {}, "run:offline"),
        ("builtin", {"OCI_PACKAGE_SCRIPTS": "run:chroot"}, "run:chroot"),
        ("builtin", {"OCI_PACKAGE_SCRIPTS": "skip"}, "skip"),
        ("native", {}, None),
        ("auto", {}, None),
    ],
)
def test_scripts_run_outside_of_the_image_as_in_do_rootfs(manager, asked, given, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    settings = {"OCI_PACKAGE_MANAGER": manager, "IMAGE_PKGTYPE": "deb", **asked}
    conf = written(inherited(tmp_path, OCI_LAYERS=LAYERS, **settings), tmp_path)
    assert (conf.get("OCI_PACKAGE_SCRIPTS") or None) == given


def test_a_base_recipe_is_built_before(tmp_path):
    assert flags(inherited(tmp_path, OCI_BASE_IMAGE="app-base"), "depends") == ["app-base:do_image_complete"]
    assert flags(inherited(tmp_path, OCI_BASE_IMAGE="/srv/base"), "depends") == []


def test_the_built_in_installer_needs_its_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Fatal, match="OCI_PACKAGE_MANAGER: 'builtin' needs the Python package solv"):
        inherited(tmp_path, OCI_LAYERS=LAYERS, OCI_PACKAGE_MANAGER="builtin")
    inherited(tmp_path, OCI_PACKAGE_MANAGER="builtin")


def test_what_decides_the_image_is_in_the_signature(tmp_path):
    key, base = tmp_path / "ca.crt", tmp_path / "base"
    key.write_text("key")
    base.mkdir()
    (base / "index.json").write_text("{}")
    d = inherited(tmp_path, OCI_LAYERS=f"keys:host:{key}:/etc/ssl/,/nowhere:/etc/", OCI_BASE_IMAGE=str(base))
    checked = flags(d, "file-checksums")
    assert {f"{key}:True", "/nowhere:False", f"{base}/index.json:True"} <= set(checked)
    assert {f"{path}:True" for path in sources()} <= set(checked)
    assert any(path.endswith("/oe_oci/tar.py") for path in sources())
    names = set(flags(d, "vardeps"))
    assert {"OCI_LAYERS", "OCI_IMAGE_CMD", "REPRODUCIBLE_TIMESTAMP_ROOTFS", "PV"} <= names
    assert not names & {
        "TOPDIR",
        "IMGDEPLOYDIR",
        "OCI_LAYER_CACHE",
        "OCI_LAYER_CACHE_DIR",
        "OCI_WORK_DIR",
        "DEPLOY_DIR_IPK",
    }


def test_where_the_layer_lies_is_not_in_the_signature(tmp_path):
    d = inherited(tmp_path)
    assert d.getVarFlag("OE_OCI_LAYERDIR", "export").strip() == "1"
    assert d.getVar("OE_OCI_LAYERDIR") not in d.expand(Class("image-oci").functions["IMAGE_CMD:oci"])


def test_a_recipe_is_read_again_where_python_of_the_class_changed(tmp_path):
    read = dict(inherited(tmp_path).getVar("__depends", False))
    assert {Path(path).name for path in read} >= {"bitbake.py", "bitbake_task.py", "variables.py", "delta.py"}
    assert all(os.path.getmtime(path) == mtime for path, mtime in read.items())


def test_functions_of_the_recipe_run_between_those_of_the_class(tmp_path):
    d = recipe(tmp_path)
    d.setVarFlag("do_image_oci", "prefuncs", "own set_image_size")
    Class("image-oci").inherit(d)
    assert flags(d, "prefuncs") == ["oci_begin", "own", "oci_write_conf"]


def test_a_package_of_the_first_boot_is_left_out_unless_the_recipe_names_another(tmp_path):
    assert inherited(tmp_path).getVar("ROOTFS_BOOTSTRAP_INSTALL") == ""
    assert inherited(tmp_path, ROOTFS_BOOTSTRAP_INSTALL="own").getVar("ROOTFS_BOOTSTRAP_INSTALL") == "own"


CORTEX_A7 = {
    "TUNE_FEATURES": "arm vfp cortexa7 neon thumb callconvention-hard",
    "PACKAGE_EXTRA_ARCHS": "armv5hf-vfp armv5thf-vfp armv6hf-vfp armv7ahf-vfp armv7vet2hf-neon cortexa7t2hf-neon",
}


@pytest.mark.parametrize(
    ("values", "variant"),
    [
        ({"TUNE_FEATURES": "arm armv7a vfp thumb"}, "v7"),
        (CORTEX_A7, "v7"),
        ({"TUNE_FEATURES": "arm thumb arm1176jzs", "PACKAGE_EXTRA_ARCHS": "armv5 armv6 armv6-vfp arm1176jzs"}, "v6"),
        ({"TUNE_FEATURES": "arm thumb dsp arm926ejs", "PACKAGE_EXTRA_ARCHS": "armv4 armv5te arm926ejste"}, "v5"),
        ({"TUNE_FEATURES": "arm thumb arm920t", "PACKAGE_EXTRA_ARCHS": "armv4 armv4t arm920t"}, ""),
        ({"TUNE_FEATURES": "armv7r cortexr5", "PACKAGE_EXTRA_ARCHS": "${PACKAGE_EXTRA_ARCHS:tune-none}"}, "v7"),
        ({**CORTEX_A7, "OCI_IMAGE_SUBARCH": "v6"}, "v6"),
        ({**CORTEX_A7, "OCI_IMAGE_SUBARCH": ""}, ""),
        ({**CORTEX_A7, "OCI_IMAGE_ARCH": "amd64"}, ""),
        ({**CORTEX_A7, "TARGET_ARCH": "aarch64"}, ""),
    ],
)
def test_the_variant_of_an_arm_is_that_of_its_processor(values, variant, tmp_path):
    d = inherited(tmp_path, **{"TARGET_ARCH": "arm", **values})
    assert configuration(d).platform.variant == variant
    assert configure(written(d, tmp_path), folder=str(tmp_path)).platform.variant == variant


def test_the_variant_is_in_the_signature(tmp_path):
    d = inherited(tmp_path, TARGET_ARCH="arm", **CORTEX_A7)
    assert "OCI_IMAGE_SUBARCH" in flags(d, "vardeps")
    assert d.getVarFlag("OCI_IMAGE_SUBARCH", "vardepvalue").strip() == "v7"


# ---- when the task runs


def test_functions_of_the_recipe_are_told_the_layers_of_packages(tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS)
    Class("image-oci").run("oci_begin", d)
    names = ("OCI_LAYER_COUNT", "OCI_LAYER_1_NAME", "OCI_LAYER_2_NAME")
    assert [d.getVar(name) for name in names] == ["2", "base", "app"]


@pytest.mark.parametrize(("functions", "folders"), [("", []), ("own", [1, 2])])
def test_layers_are_laid_out_only_where_the_recipe_has_functions_of_its_own(functions, folders, tmp_path, monkeypatch):
    laid = [types.SimpleNamespace(number=number, path=f"/laid/{number}") for number in (1, 2)]
    monkeypatch.setattr("oe_oci.folders.lay_out", lambda _config, _options, _prefix: laid)
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, OCI_LAYER_MODE="multi", OCI_ROOTFS_LAYER="")
    # The others are openembedded-core's, which has the first one wherever tools are built for the task.
    every = f"extend_recipe_sysroot oci_begin {functions} set_image_size oci_write_conf"
    d.setVarFlag("do_image_oci", "prefuncs", every)
    Class("image-oci").run("oci_begin", d)
    names = (f"OCI_LAYER_{number}_ROOTFS" for number in (1, 2))
    assert [d.getVar(name) for name in names if d.getVar(name)] == [f"/laid/{number}" for number in folders]


def test_what_scripts_may_ask_for_is_in_one_folder(tmp_path, monkeypatch):
    for layer in ("core", "own"):
        (tmp_path / layer).mkdir()
        (tmp_path / layer / f"update_{layer}").write_text(layer)
    paths = f"{tmp_path}/core/update_core {tmp_path}/own/update_own"
    monkeypatch.setattr("os.environ", {})
    Class("image-oci").run("oci_begin", inherited(tmp_path, POSTINST_INTERCEPTS=paths))
    folder = tmp_path / "work" / "oci" / "intercepts"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"update_core": "core", "update_own": "own"}
    assert oe_oci.bitbake_task.os.environ == {"INTERCEPT_DIR": str(folder), "NATIVE_ROOT": str(tmp_path / "native")}


def written(d, tmp_path):
    path = tmp_path / "image.conf"
    path.write_text(image_conf(d, configuration(d)), encoding="utf-8")
    return read_conf(str(path), defaults={})


def test_a_conf_says_what_the_recipe_says(tmp_path):
    d = inherited(
        tmp_path,
        OCI_LAYERS=f"{LAYERS} lib:packages:libfoo keys:host:conf/ca.crt:/etc/ssl/",
        OCI_IMAGE_LABELS="a='it is \"so\"' b=2",
        OCI_BASE_IMAGE="./base",
    )
    conf = written(d, tmp_path)
    expected = {
        "IMAGE_BASENAME": "app",
        "IMAGE_NAME": "app-qemu.rootfs-20261129",
        "OCI_IMAGE_LABELS": "a='it is \"so\"' b=2",
        "OCI_LAYERS": "base:packages:base-files,busybox, app:packages:libstdc++6, site:directories:/srv,"
        f" lib:packages:libfoo1, keys:host:{tmp_path}/conf/ca.crt:/etc/ssl/,",
        "OCI_BASE_IMAGE": f"{tmp_path}/base",
        "OCI_PACKAGE_MANAGER": "rootfs",
        "OCI_PACKAGE_DATABASE": "remove",
        "OCI_IMAGE_AUTHOR_EMAIL": "yocto@example.org",
        "DEPLOY_DIR_IPK": f"{tmp_path}/work/oe-rootfs-repo",
        "PACKAGE_ARCHS": "all core2-64 qemu",
    }
    assert {name: conf.get(name) for name in expected} == expected
    # What nobody wrote is not there: a default for the command must not hide that of the base.
    assert conf.get("OCI_IMAGE_CMD") is None


def test_a_conf_makes_the_configuration_of_the_recipe(tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, OCI_IMAGE_CMD="/usr/bin/app 'two words'", OCI_IMAGE_PORTS="80 53/udp")
    config = configure(written(d, tmp_path), folder=str(tmp_path))
    assert [layer.name for layer in config.layers] == ["base", "app", "site", "rootfs"]
    assert config.run.cmd == ("/usr/bin/app", "two words")
    assert config.run.ports == ("53/udp", "80/tcp")
    assert config.deploy_dir == str(tmp_path / "work" / "deploy")
    assert config.cache_dir == str(tmp_path / "build" / "oci-layer-cache" / "qemu")
    assert config.labels_from == str(tmp_path / "build")


@pytest.mark.parametrize(("kind", "archs"), [("ipk", "all core2-64 qemu"), ("rpm", "all core2_64 qemu"), ("deb", None)])
def test_architectures_are_named_as_the_format_has_them(kind, archs, tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, IMAGE_PKGTYPE=kind)
    assert written(d, tmp_path).get("PACKAGE_ARCHS") == archs


@pytest.mark.parametrize(("kind", "names"), [("ipk", "unwanted"), ("rpm", "unwanted"), ("deb", None)])
def test_recommendations_are_left_out_where_the_rootfs_leaves_them_out(kind, names, tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, IMAGE_PKGTYPE=kind, BAD_RECOMMENDATIONS="unwanted")
    assert written(d, tmp_path).get("BAD_RECOMMENDATIONS") == names


def test_the_rest_of_the_rootfs_is_a_layer_of_a_name_that_is_free(tmp_path):
    assert written(inherited(tmp_path, OCI_LAYERS=LAYERS), tmp_path).get("OCI_ROOTFS_LAYER") == "rootfs"
    taken = inherited(tmp_path, OCI_LAYERS=f"{LAYERS} rootfs:directories:/etc")
    assert written(taken, tmp_path).get("OCI_ROOTFS_LAYER") == "rootfs-rest"
    assert (
        written(inherited(tmp_path, OCI_LAYERS=LAYERS, OCI_ROOTFS_LAYER=""), tmp_path).get("OCI_ROOTFS_LAYER") is None
    )


def test_paths_are_told_with_the_package_that_owns_them(tmp_path):
    data = tmp_path / "pkgdata" / "runtime-reverse"
    data.mkdir(parents=True)
    (data / "libfoo1").write_text('PN: foo\nFILES_INFO:libfoo: {"/usr/lib/b": 3, "/usr/lib/a": 1}\n')
    (data / "empty").write_text("PN: empty\n")
    (tmp_path / "app.manifest").write_text("libfoo1 core2-64 1.0-r0\nempty all 1.0-r0\n")
    d = DataStore(
        {
            "IMAGE_MANIFEST": str(tmp_path / "app-20261129.manifest"),
            "IMAGE_LINK_NAME": "app",
            "IMGDEPLOYDIR": str(tmp_path),
            "PKGDATA_DIR": str(tmp_path / "pkgdata"),
        }
    )
    assert owned(d, PACKAGES) == {"packages": {"libfoo1": ["/usr/lib/a", "/usr/lib/b"], "empty": []}}


def test_what_packages_need_is_told_by_the_names_that_the_rootfs_has(tmp_path):
    data = tmp_path / "pkgdata" / "runtime-reverse"
    data.mkdir(parents=True)
    relations = {
        "app": "RDEPENDS:app: libfoo (>= 1.0) virtual-shell app gone\nRRECOMMENDS:app: nice bad worse\n",
        "libfoo1": "RPROVIDES:libfoo: libfoo (= 1.0)\n",
        "busybox": "RPROVIDES:busybox: virtual-shell\n",
        **dict.fromkeys(("nice", "bad", "worse"), "PN: nice\n"),
    }
    for name, text in relations.items():
        (data / name).write_text(text)
    (tmp_path / "app.manifest").write_text("".join(f"{name} all 1.0-r0\n" for name in relations))
    d = DataStore({"IMAGE_MANIFEST": str(tmp_path / "app.manifest"), "PKGDATA_DIR": str(tmp_path / "pkgdata")})
    settings = PACKAGES._replace(manager="rootfs", bad_recommendations=("bad",), exclude=("worse",))
    found = owned(d, settings)
    assert found["needs"]["app"] == ["busybox", "libfoo1", "nice"]
    assert found["versions"]["libfoo1"] == ["1.0-r0", "all"]
    assert owned(d, settings._replace(recommends=False))["needs"]["app"] == ["busybox", "libfoo1"]


def test_layers_cut_from_the_rootfs_need_no_tool_and_are_told_what_packages_need(tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, OCI_PACKAGE_MANAGER="rootfs")
    assert flags(d, "depends") == []
    assert written(d, tmp_path).get("OCI_PACKAGE_MANAGER") == "rootfs"


@pytest.mark.parametrize("manifest", ["", "nowhere.manifest"])
def test_without_a_list_of_packages_the_rest_of_the_rootfs_is_refused_with_the_ways_out(manifest, tmp_path):
    d = inherited(tmp_path, OCI_LAYERS=LAYERS, IMAGE_MANIFEST=manifest, IMAGE_LINK_NAME="app")
    with pytest.raises(Fatal) as refused:
        Class("image-oci").run("oci_write_conf", d)
    first, hint = str(refused.value).splitlines()
    assert first.startswith(f"IMAGE_MANIFEST: {tmp_path}/work/deploy/app.manifest, the list of packages in the rootfs,")
    assert hint.endswith('set OCI_ROOTFS_LAYER = ""')


@pytest.mark.parametrize("function", ["oci_begin", "oci_write_conf"])
def test_what_a_function_of_the_recipe_sets_wrongly_is_told_as_a_fault(function, tmp_path):
    d = inherited(tmp_path)
    d.setVar("OCI_IMAGE_PORTS", "http")
    with pytest.raises(Fatal, match=r"^OCI_IMAGE_PORTS: 'http' is not a port\n"):
        Class("image-oci").run(function, d)

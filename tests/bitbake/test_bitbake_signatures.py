# SPDX-License-Identifier: MIT
"""What makes bitbake run the task again, and what does not: read from the signatures that it works with."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Callable, NamedTuple

import pytest

from oe_oci.configure.variables import LAID_OUT, TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from support.bitbake import Build


class Change(NamedTuple):
    """A change to the configuration, as lines of local.conf, or to files."""

    conf: str = ""
    edit: Callable[[Build], object] = lambda build: None


def append(path: str, text: str) -> Change:
    """Add text to a file in the build folder."""

    def edit(build: Build) -> None:
        file = build.folder / path
        file.write_text((file.read_text() if file.exists() else "") + text)

    return Change(edit=edit)


def commit(build: Build) -> None:
    """Make a commit in a repository at the top of the build folder."""
    build.command("git", "init", "-q")
    build.command("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "one")


def line(text: str) -> Change:
    return Change(f"{text}\n")


# Beside the variables of the recipe, each of which is looked up in the signature.
RUN_AGAIN = {
    "python of oe_oci": append("layers/oe-oci/oe_oci/delta.py", "\n# other\n"),
    "host file": append("host-file", "other"),
    "base recipe": line('IMAGE_INSTALL:append:pn-base = " settings"'),
    "command of the base recipe": line('OCI_IMAGE_CMD:pn-base = "/bin/other"'),
    "package without a new version": line('SAMPLES_SETTING = "3"'),
    "rootfs": line('ROOTFS_POSTPROCESS_COMMAND:append:pn-signed = " change_nothing;"'),
}
LEFT_ALONE = {
    "package outside the image": line('SAMPLES_CURL = "2"'),
    "cache off": line('OCI_LAYER_CACHE:pn-signed = "0"'),
    "place of the cache": line('OCI_LAYER_CACHE_DIR = "${TOPDIR}/elsewhere"'),
    "other variable": line('SOMETHING = "else"'),
    "commit": Change(edit=commit),
    "comment in the recipe": append("layers/samples/recipes/signed.bb", "# other\n"),
    "comment in the class": append("layers/oe-oci/classes/image-oci.bbclass", "# other\n"),
    "file that is no code": append("layers/oe-oci/oe_oci/NOTES", "other"),
    "place of what is built": line('TMPDIR = "${TOPDIR}/tmp-other"'),
    "threads": line('BB_NUMBER_THREADS = "1"'),
}
DECIDES_NOTHING = {
    "IMAGE_ROOTFS",
    "IMGDEPLOYDIR",
    "DEPLOY_DIR_IMAGE",
    "DEPLOY_DIR_IPK",
    "DEPLOY_DIR_RPM",
    "DEPLOY_DIR_DEB",
    "TOPDIR",
    "OCI_LAYER_CACHE",
    "OCI_LAYER_CACHE_DIR",
    "OCI_WORK_DIR",
    "OCI_ROOTFS_PACKAGES",
    LAID_OUT,
}


def signature(build: Build, recipe: str = "signed", **options: str) -> Path:
    """The file of the signature that the recipe's task has as things are now; its name ends in it."""
    for old in build.folder.glob(f"tmp*/stamps/samples-*/{recipe}/*do_image_oci.sigdata.*"):
        old.unlink()
    build.run("-S", "none", recipe, **options)
    (found,) = build.folder.glob(f"tmp*/stamps/samples-*/{recipe}/*.do_image_oci.sigdata.*")
    return found


def digest(build: Build, recipe: str = "signed", **options: str) -> str:
    return signature(build, recipe, **options).suffix


@pytest.fixture(scope="module")
def signed(build):
    """The build, where signatures are looked at once for all formats of packages, and the task's signature in it."""
    if build.kind != "ipk":
        pytest.skip("formats of packages make no difference here")
    tidy(build)
    yield build, digest(build)
    tidy(build)


@pytest.fixture(autouse=True)
def tidied(request):
    yield
    if "signed" in request.fixturenames:
        tidy(request.getfixturevalue("signed")[0])


def tidy(build):
    build.refresh()
    (build.folder / "host-file").write_text("host\n")
    build.command("rm", "-rf", ".git", "tmp-other", "tmp-other-glibc")


@pytest.mark.parametrize("change", RUN_AGAIN)
def test_runs_again(signed, change):
    build, before = signed
    conf, edit = RUN_AGAIN[change]
    edit(build)
    assert digest(build, conf=conf) != before


def test_runs_again_where_a_variable_changes(signed):
    build, _ = signed
    said = build.command("bitbake-dumpsig", str(signature(build))).stdout
    looked_at = set(re.findall(r"^Variable (\w+) value is ", said, re.MULTILINE))
    known = {variable.name for variable in TABLE}
    expected = {name for name in known - DECIDES_NOTHING if name.startswith("OCI_")}
    expected |= {"PV", "REPRODUCIBLE_TIMESTAMP_ROOTFS", "NO_RECOMMENDATIONS", "PATCH_GIT_USER_EMAIL"}
    expected |= {"SAMPLES_APPENDED", "PACKAGE_EXCLUDE", "BAD_RECOMMENDATIONS"}
    unset = {name for name in expected if f"List of dependencies for variable {name} is" in said} - looked_at
    assert expected - looked_at - unset == set()
    # IMAGE_ROOTFS and IMGDEPLOYDIR are named by openembedded-core.
    assert looked_at & DECIDES_NOTHING <= {"IMAGE_ROOTFS", "IMGDEPLOYDIR", "TOPDIR"}


@pytest.fixture(scope="module")
def all_at_once(signed):
    """Whether nothing of what should be left alone changes the signature: then each of them need not be looked at."""
    build, before = signed
    for change in LEFT_ALONE.values():
        change.edit(build)
    after = digest(build, conf="".join(change.conf for change in LEFT_ALONE.values()))
    tidy(build)
    return after == before


@pytest.mark.parametrize("change", LEFT_ALONE)
def test_is_left_alone(signed, all_at_once, change):
    build, before = signed
    if not all_at_once:
        conf, edit = LEFT_ALONE[change]
        edit(build)
        assert digest(build, conf=conf) == before


def basehash(build):
    """What the task's own variables come to, without files and the tasks that it depends on."""
    said = build.command("bitbake-dumpsig", str(signature(build, "base"))).stdout
    return re.search(r"^basehash: (\w+)$", said, re.MULTILINE)[1]


def test_recipes_are_read_again_where_python_changed_that_reads_them(signed):
    """Else what bitbake remembers of them is not what a task finds, which is an error."""
    build, _ = signed
    before = basehash(build)
    append("layers/oe-oci/oe_oci/bitbake.py", "\n_PLACES.add('OCI_IMAGE_CMD')\n").edit(build)
    assert basehash(build) != before


def test_is_left_alone_in_another_folder(signed):
    """Tasks before it are not: openembedded-core has the build's folder in the signature of do_rootfs."""
    build, _ = signed
    other = build.elsewhere(build.folder.with_name(f"{build.folder.name}-moved"))
    tidy(other)
    try:
        assert basehash(other) == basehash(build)
    finally:
        shutil.rmtree(other.folder)


def test_a_base_that_lies_somewhere(signed):
    build, _ = signed
    index = build.folder / "base-layout" / "index.json"
    index.parent.mkdir(exist_ok=True)
    index.write_text("{}")
    before = digest(build, "derived-path")
    index.write_text('{"other": 1}')
    assert digest(build, "derived-path") != before


def test_what_changed_is_told(images):
    build = images("base")
    if build.kind != "ipk":
        pytest.skip("formats of packages make no difference here")
    said = build.run("-S", "printdiff", "base", conf='OCI_IMAGE_CMD:pn-base = "/bin/other"\n')
    assert "OCI_IMAGE_CMD" in said
    assert "/bin/other" in said

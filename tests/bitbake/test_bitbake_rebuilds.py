# SPDX-License-Identifier: MIT
"""The same image again: in another folder, by the command line, and from what bitbake keeps of earlier builds."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from support.compare import contents

IMAGES = ["single", "base", "derived", "multi", "installed"]


@pytest.mark.parametrize("name", IMAGES)
def test_built_in_two_folders(images, second_build, name):
    first, second = images(name).report(name), second_build(name).report(name)
    for report in (first, second):
        outputs = report.pop("outputs")
        report["archives"] = [one["digest"] for name, one in outputs["archives"].items() if name.endswith("-oci.tar")]
    assert first == second


@pytest.mark.parametrize("name", ["single", "multi", "installed"])
def test_made_again_after_the_layers_files_were_replaced(images, name):
    """Older series' pseudo keeps account of all that a task writes, and ends one that finds it replaced."""
    build = images(name)
    build.refresh()  # without the compiled files
    build.run("-f", "-c", "image_oci", name)
    assert "oe_oci" not in (build.work(name) / "pseudo" / "pseudo.log").read_text(errors="replace")


def commands_environment(build, image):
    """What bitbake sets for a task under pseudo, the recipe's tools, and the words before a program."""
    values = dict(re.findall(r'^(?:export )?(\w+)="(.*)"$', build.run("-e", image), re.MULTILINE))
    natives = f"{build.work(image)}/recipe-sysroot-native"
    path = f"{natives}/usr/bin:{natives}/usr/sbin:{values['HOSTTOOLS_DIR']}"
    # What the class gives to the scripts of packages.
    scripts = [f"INTERCEPT_DIR={build.work(image)}/oci/intercepts", f"NATIVE_ROOT={natives}"]
    return [*values["FAKEROOTENV"].split(), f"PATH={path}", *scripts], shlex.split(values["FAKEROOTCMD"])


@pytest.mark.parametrize("name", IMAGES)
def test_built_by_the_command_line(images, name):
    build = images(name)
    conf = build.work(name) / "oci" / "image.conf"
    settings, pseudo = commands_environment(build, name)
    deploy = build.folder / "by-command"
    argv = ["env", *settings, f"PYTHONPATH={build.layers}/oe-oci", *pseudo, "python3", "-m", "oe_oci", "build", conf]
    done = build.command(*map(str, argv), "--deploy-dir", str(deploy), "--json", "--set", "OCI_LAYER_CACHE=0")
    report, expected = json.loads(done.stdout[done.stdout.index("{\n") :]), build.report(name)
    assert [layer.get("diffId") for layer in report["layers"]] == [layer.get("diffId") for layer in expected["layers"]]
    assert report["image"] == expected["image"]


def test_what_was_cleaned_comes_back_from_the_shared_state(images):
    build = images("restored")
    # Equivalent hashes are of files' owners by name, of which a root file system has none for the build's user.
    conf = 'BB_SIGNATURE_HANDLER = "OEBasicHash"\nSSTATE_SKIP_CREATION:pn-restored = "0"\n'
    build.run("-c", "clean", "restored", conf=conf)
    build.run("restored", conf=conf)
    before = outputs(build, "restored")
    build.run("-c", "clean", "restored", conf=conf)
    assert not build.layout("restored").exists()
    said = build.run("restored", conf=conf)
    assert outputs(build, "restored") == before
    assert {f"restored-latest-oci{ending}" for ending in ("", ".tar", "-dir.tar", ".json")} <= before.keys()
    assert "restored.bb:do_image_complete_setscene" in said
    assert "restored.bb:do_image_oci)" not in said


def outputs(build, name):
    """The files and links of an image in the deploy folder, of all its builds."""
    found = contents(build.images)
    return {path: facts for path, facts in found.items() if path.startswith(f"{name}-") and "directory" not in facts}

# SPDX-License-Identifier: MIT
"""The one table of the variables a configuration may hold, with what each means.

`docs/reference/variables.md` says the same; a test compares the two. Must not know how a value is parsed.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Variable(NamedTuple):
    """A variable: `default` is BitBake text, None where it is unset; `unset` then says what holds."""

    name: str
    group: str
    default: str | None
    meaning: str
    values: str
    unset: str = ""


GROUPS = {
    "image": "The image and its name",
    "run": "How the image runs",
    "layers": "Layers",
    "packages": "Packages",
    "base": "Base image",
    "labels": "Labels and annotations",
    "outputs": "Outputs",
    "build": "The build",
}

LAID_OUT = "OCI_LAYER_<n>_ROOTFS"  # of a variable for each layer of packages

_WORDS = "Shell words; `none` clears what the base image has; empty inherits it."
_SWITCH = "`1`, `yes`, `true` or `on`; `0`, `no`, `false`, `off` or empty."
_IN_THE_CLASS = "BitBake sets it in a recipe."

TABLE = (
    Variable(
        "IMAGE_BASENAME",
        "image",
        None,
        f"The image's short name: it begins the names of the links in the deploy directory. {_IN_THE_CLASS}",
        "A file name.",
        "the name of the configuration file without its ending",
    ),
    Variable(
        "IMAGE_NAME",
        "image",
        "${IMAGE_BASENAME}",
        f"Begins the names of the outputs; in a recipe it usually ends in the build's date. {_IN_THE_CLASS}",
        "A file name.",
    ),
    Variable("IMAGE_NAME_SUFFIX", "image", "", f"Follows `IMAGE_NAME` in file names. {_IN_THE_CLASS}", "Text."),
    Variable(
        "OCI_IMAGE_NAME",
        "image",
        "localhost/${IMAGE_BASENAME}",
        "The repository part of the full name under which container engines know the image. The default is put into"
        " lower case, and what a repository's name can not hold becomes `-`.",
        "`[host[:port]/]path` in lower case, without a tag.",
    ),
    Variable(
        "OCI_IMAGE_TAG",
        "image",
        "latest",
        "The tag: the reference name of the image in the layout, and a part of the links' names. A value with a `/` is"
        " itself the full name (with `:latest` where it has no tag); one with a `:` and no `/` is the full name under"
        " `localhost/`. In file names `/` and `:` become `_`.",
        "A tag (at most 128 letters, digits, `_`, `.`, `-`) or a full name.",
    ),
    Variable(
        "OCI_IMAGE_ARCH",
        "image",
        None,
        "The processor architecture. What Yocto and the kernel call it is put into Go's words: `aarch64` becomes"
        " `arm64`.",
        "`386`, `amd64`, `arm`, `arm64`, `loong64`, `mips`, `mipsle`, `mips64`, `mips64le`, `ppc64`, `ppc64le`,"
        " `riscv64`, `s390x`, or another word for one of them.",
        "from `TARGET_ARCH`",
    ),
    Variable(
        "OCI_IMAGE_SUBARCH",
        "image",
        None,
        "The variant of the architecture. It stands in the image's config and in the index. Empty means none.",
        "Lower-case letters, digits and `.`, such as `v7`.",
        "`v7`, `v6` or `v5` where the architecture is `arm` and `TUNE_FEATURES` says so, else none",
    ),
    Variable("OCI_IMAGE_OS", "image", "linux", "The operating system the image is for.", "Lower-case word."),
    Variable(
        "OCI_IMAGE_AUTHOR_EMAIL",
        "image",
        "",
        "The image's author, as its config names them. Wins over `OCI_IMAGE_AUTHOR`.",
        "Text.",
    ),
    Variable("OCI_IMAGE_AUTHOR", "image", "", "The author where `OCI_IMAGE_AUTHOR_EMAIL` is empty.", "Text."),
    Variable("OCI_IMAGE_ENTRYPOINT", "run", "", "The command that always runs; arguments are appended.", _WORDS),
    Variable(
        "OCI_IMAGE_ENTRYPOINT_ARGS",
        "run",
        "",
        "Arguments of the entry point where the user gives none. Wins over `OCI_IMAGE_CMD`.",
        _WORDS,
    ),
    Variable(
        "OCI_IMAGE_CMD",
        "run",
        "/bin/sh",
        "The command where the user gives none. The default applies only where neither the configuration nor the base"
        " image has an entry point or a command; written empty, there is no default.",
        _WORDS,
    ),
    Variable(
        "OCI_IMAGE_ENV_VARS",
        "run",
        "",
        "Environment variables. Each replaces one of the same name in the base image. `PATH` is set where nothing else"
        " sets it.",
        "Shell words `NAME=value`; `none` clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_RUNTIME_UID",
        "run",
        "",
        "The user, and the group if named, that runs the command.",
        "`user` or `user:group`, by name or number; `none` clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_WORKINGDIR",
        "run",
        "",
        "The directory the command starts in.",
        "An absolute path; `none` clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_STOPSIGNAL",
        "run",
        "",
        "The signal that asks the container to stop.",
        "A name such as `SIGTERM` or `SIGRTMIN+3`, or a number from 1 to 64; `none` clears what the base image has;"
        " empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_PORTS",
        "run",
        "",
        "Ports the container listens on.",
        "Shell words `port[/tcp|udp|sctp]` or `first-last[/…]`, from 1 to 65535; without a protocol, `tcp`. `none`"
        " clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_VOLUMES",
        "run",
        "",
        "Directories that hold a container's own data.",
        "Shell words, each an absolute path; `none` clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_LAYER_MODE",
        "layers",
        None,
        "`single` makes one layer of the whole root file system; `multi` makes the layers of `OCI_LAYERS`. Where"
        " `single` is written beside `OCI_LAYERS` it is obeyed, with a note.",
        "`single` or `multi`.",
        "`multi` where `OCI_LAYERS` is not empty, else `single`",
    ),
    Variable(
        "OCI_LAYERS",
        "layers",
        "",
        "The layers, lowest first. See [The layers' grammar](#the-layers-grammar).",
        "Words `name:type:content`; types `packages`, `directories`, `files`, `host`.",
    ),
    Variable(
        LAID_OUT,
        "layers",
        None,
        "The folder in which the n-th layer of type `packages`, counted from 1, is laid out. Its packages are then not"
        " installed: the layer is what the folder holds, and no feed is needed. All layers of packages are laid out, or"
        " none. See [Layers laid out in folders](layers.md#layers-laid-out-in-folders).",
        "A path; a relative one is meant from `TOPDIR`.",
        "packages are installed",
    ),
    Variable(
        "OCI_ROOTFS_LAYER",
        "layers",
        "",
        "Adds a layer of this name at the end, where the image has layers of packages: what the root file system has"
        " beyond them, and what it lacks of theirs. See"
        " [The rest of the rootfs](layers.md#the-rest-of-the-rootfs).",
        "Letters, digits, `.`, `_` and `-`; empty adds none.",
    ),
    Variable(
        "OCI_ROOTFS_PACKAGES",
        "layers",
        None,
        "The file that says which package owns what in the root file system, so that the layer of `OCI_ROOTFS_LAYER`"
        " leaves out what is only of packages that are in no layer; and where `OCI_PACKAGE_MANAGER` is `rootfs` what"
        " packages need.",
        'The path of a JSON file, `{"packages": {"NAME": ["/path", …]}, "needs": {"NAME": ["NAME", …]}}`; a relative'
        " one is meant from `TOPDIR`.",
        "no path is any package's",
    ),
    Variable("OCI_LAYER_KEEP_EMPTY", "layers", "0", "Keeps a layer that holds nothing, instead of a note.", _SWITCH),
    Variable(
        "OCI_HOST_OWNER",
        "layers",
        "0:0",
        "Who owns the files of host layers in the image.",
        "`uid:gid` in numbers; or `keep` for the owners and modes of the host. Else a mode is 0755 or 0644.",
    ),
    Variable(
        "OCI_IMAGE_PATHS",
        "layers",
        "",
        "Sets mode and owner of paths, or removes them; applied to the last layer.",
        "Shell words `path:mode:uid:gid` (mode octal; an empty field leaves what is there) or `path:remove`.",
    ),
    Variable(
        "OCI_IMAGE_ACCOUNTS",
        "layers",
        "",
        "Users and groups the image is to have, with their numbers. Each is written into the account files of the first"
        " layer that needs it, else of the last. `GROUP` is the name or number of a group; without it the user has a"
        " group of its own name and number. Home directories are not made. See"
        " [Declare users and groups](../how-to/declare-accounts.md).",
        "Shell words `user:NAME:UID[:GROUP[:HOME[:SHELL]]]` (`/nonexistent`, `/usr/sbin/nologin`) and"
        " `group:NAME:GID[:MEMBER,MEMBER…]`; an empty field is as one left out.",
    ),
    Variable(
        "OCI_LAYER_COMPRESSION",
        "layers",
        "gzip",
        "How layers are compressed. Old versions of Docker refuse `zstd`.",
        "`gzip[:1-9]`, `zstd[:1-19]` or `none`. Without a number it is the compressor's own: 5 of zlib-ng, 4 of zlib;"
        " of zstd level 2 with a larger window and table, which makes about the size of 3.",
    ),
    Variable(
        "OCI_LAYER_COMPRESSOR",
        "layers",
        "auto",
        "What compresses. `auto` takes zlib-ng, else zlib; for zstd pyzstd, else the program `zstd`. A named one that"
        " is absent is an error; name one where digests must agree between machines.",
        "`auto`; for gzip `zlib-ng` or `zlib`; for zstd `pyzstd` or `zstd`.",
    ),
    Variable(
        "OCI_LAYER_CACHE",
        "layers",
        "1",
        "Whether layers, and what was read of inputs, are kept for later builds and taken from earlier ones. Switched"
        " off, a build reads everything, and leaves nothing but its outputs. The image is the same either way.",
        _SWITCH,
    ),
    Variable(
        "OCI_LAYER_CACHE_DIR",
        "layers",
        None,
        "The folder that keeps layers for later builds. Several builds, users and machines may share one: whoever may"
        " write to it decides what goes into images. `--cache-dir` wins over it. See"
        " [The layer cache](../explanation/layer-cache.md).",
        "A path; a relative one is meant from `TOPDIR`.",
        "`$XDG_CACHE_HOME/oe-oci`",
    ),
    Variable(
        "IMAGE_PKGTYPE",
        "packages",
        None,
        f"The format of the feeds' packages. {_IN_THE_CLASS}",
        "`deb`, `ipk` or `rpm`.",
        "that of the feeds",
    ),
    Variable(
        "PACKAGE_ARCHS",
        "packages",
        None,
        "The architectures packages may have, the lowest priority first: where two are of one name, the one of the"
        f" later architecture is taken; of rpm `noarch` is as good as any. {_IN_THE_CLASS}",
        "Words, such as `all any core2-64`.",
        "those the feeds hold, the target's own last; for `deb` `all` and the target's",
    ),
    Variable(
        "DPKG_ARCH",
        "packages",
        None,
        f"The target's architecture in the words of deb packages. {_IN_THE_CLASS}",
        "A word such as `amd64` or `armhf`.",
        "from `OCI_IMAGE_ARCH` and `OCI_IMAGE_SUBARCH`",
    ),
    Variable(
        "DEPLOY_DIR_IPK",
        "packages",
        None,
        f"The feed where `IMAGE_PKGTYPE` is `ipk`, or unset, and no `--feed` is given. {_IN_THE_CLASS}",
        "The path of a folder, without blanks; a relative one is meant from `TOPDIR`.",
        "`--feed`",
    ),
    Variable(
        "DEPLOY_DIR_RPM",
        "packages",
        None,
        f"The feed where `IMAGE_PKGTYPE` is `rpm`, or unset, and no `--feed` is given. {_IN_THE_CLASS}",
        "The path of a folder, without blanks; a relative one is meant from `TOPDIR`.",
        "`--feed`",
    ),
    Variable(
        "DEPLOY_DIR_DEB",
        "packages",
        None,
        f"The feed where `IMAGE_PKGTYPE` is `deb`, or unset, and no `--feed` is given. {_IN_THE_CLASS}",
        "The path of a folder, without blanks; a relative one is meant from `TOPDIR`.",
        "`--feed`",
    ),
    Variable(
        "NO_RECOMMENDATIONS",
        "packages",
        "",
        "Leaves out packages that others only recommend.",
        _SWITCH,
    ),
    Variable(
        "BAD_RECOMMENDATIONS",
        "packages",
        "",
        "Packages that are not installed merely because another recommends them.",
        "Words, each the name of a package.",
    ),
    Variable(
        "PACKAGE_EXCLUDE",
        "packages",
        "",
        "Packages that are never installed; it is an error where one is needed.",
        "Words, each the name of a package.",
    ),
    Variable(
        "RPM_PREFER_ELF_ARCH",
        "packages",
        "2",
        "Which file stays where two rpm packages have different ELF files at one path, as packages of multilib do: `1`"
        " that of 32 bits, `2` that of 64 bits, `4` that of MIPS's N32. BitBake sets it in a recipe where it is not"
        " `2`.",
        "`1`, `2` or `4`.",
    ),
    Variable(
        "OCI_PACKAGE_MANAGER",
        "packages",
        "auto",
        "What installs packages. `builtin`: oe-oci itself, which needs no rights, and no other program but to run"
        " scripts of packages. `native`: the package manager of the format, opkg for ipk, apt for deb and dnf for rpm;"
        " it needs root, or fakeroot, and dnf root, or a user namespace. `rootfs`: nobody, as the packages are in the"
        " root file system already, and each layer is [cut from it](layers.md#packages-of-the-rootfs). `auto` is"
        " `builtin`. The report names it.",
        "`auto`, `native`, `builtin` or `rootfs`.",
    ),
    Variable(
        "OCI_PACKAGE_SCRIPTS",
        "packages",
        "run",
        "What becomes of the scripts of packages that the built-in installer installs. `run:offline`: they run on this"
        " machine, which they can read and not change, and find the image in the folder `$D`. `run:chroot`: the image"
        " is their root. `run` is `run:chroot` for debs of which this machine runs the programs, else `run:offline`."
        " `defer`: those that would run after files are placed are left to the first boot, which a container has not."
        " `skip`: none runs; the report lists them. [Scripts of packages](package-scripts.md) tells more.",
        "`run`, `run:offline`, `run:chroot`, `defer` or `skip`.",
    ),
    Variable(
        "OCI_WORK_DIR",
        "packages",
        None,
        "The folder in which a package manager works where `OCI_PACKAGE_MANAGER` is `native`; what it needs there is"
        " gone after the build. OpenEmbedded's pseudo keeps the owners of files in some folders alone, those below"
        " `${WORKDIR}/rootfs` and names that begin so.",
        "A path; a relative one is meant from `TOPDIR`.",
        "the folder beside the outputs in which they are made",
    ),
    Variable(
        "OCI_PACKAGE_DATABASE",
        "packages",
        "keep",
        "What becomes of the database of installed packages. `keep`: each layer of packages holds it as it stands after"
        " that layer. `top`: it is in a layer of its own, `package-database`, the last one. `status.d`: each package is"
        " a file of its own, which rpm has not. `remove`: the layers have none; that of a base image stays as it is."
        " But for `keep`, a layer that changes nothing below it is the same blob whatever lies below.",
        "`keep`, `top`, `status.d` or `remove`.",
    ),
    Variable(
        "OCI_BASE_IMAGE",
        "base",
        "",
        "The image to build on. A path is relative to the file that sets it; a recipe's image is looked for at"
        " `${DEPLOY_DIR_IMAGE}/<recipe>-<OCI_BASE_IMAGE_TAG>-oci`. An image of a registry is refused, with the commands"
        " that fetch it.",
        "A path that starts with `/`, `./` or `../`, to a layout or an archive; or the name of a recipe.",
    ),
    Variable("OCI_BASE_IMAGE_TAG", "base", "latest", "The base image's tag in its layout.", "A reference name."),
    Variable(
        "OCI_IMAGE_LABELS",
        "labels",
        "",
        "Labels of the image's config. They win over the automatic ones.",
        "Shell words `key=value`; `none` clears what the base image has; empty inherits it.",
    ),
    Variable(
        "OCI_IMAGE_ANNOTATIONS",
        "labels",
        "",
        "Annotations of the manifest. They win over the automatic ones.",
        "Shell words `key=value`.",
    ),
    Variable(
        "OCI_IMAGE_AUTO_LABELS",
        "labels",
        "1",
        "Adds revision, branch and date, found in the git repository that holds the configuration file, and the version"
        " from `PV`, as labels and annotations.",
        _SWITCH,
    ),
    Variable(
        "OCI_IMAGE_REVISION",
        "labels",
        "",
        "`org.opencontainers.image.revision`. Found, it ends in `-dirty` where a tracked file is changed.",
        "Text; empty finds it; `none` leaves it out.",
    ),
    Variable(
        "OCI_IMAGE_BRANCH",
        "labels",
        "",
        "`org.openembedded.image.branch`, and the label (not the annotation) `org.opencontainers.image.ref.name`.",
        "Text; empty finds it; `none` leaves it out.",
    ),
    Variable(
        "OCI_IMAGE_BUILD_DATE",
        "labels",
        "",
        "`org.opencontainers.image.created`. Found, it is `SOURCE_DATE_EPOCH`, else the date of the commit.",
        "UTC such as `2026-11-02T09:30:00Z`; `now` for the time of the build; empty finds it; `none` leaves it out.",
    ),
    Variable(
        "PV",
        "labels",
        None,
        "`org.opencontainers.image.version`, where it means something: `1.0`, which BitBake gives every recipe, and"
        " placeholders (`0.0`, `git`, `1.0+git`, `0.0+git`) do not.",
        "Text.",
        "no version",
    ),
    Variable("OCI_IMAGE_APP_RECIPE", "labels", "", "The recipe of the main program. No effect yet.", "A recipe."),
    Variable(
        "OCI_IMAGE_TAR_OUTPUT",
        "outputs",
        "true",
        "Whether archives are written beside the layout.",
        "`0`, `no`, `false`, `off` or empty is off; everything else is on.",
    ),
    Variable(
        "OCI_IMAGE_TAR_COMPRESSION",
        "outputs",
        "",
        "Compresses the archives, and adds the ending to their names and those of their links.",
        "Empty, `gz` or `zst`.",
    ),
    Variable(
        "IMGDEPLOYDIR",
        "outputs",
        None,
        f"The folder the outputs are written to. {_IN_THE_CLASS}",
        "A path; a relative one is meant from `TOPDIR`.",
        "`--deploy-dir`, else `./deploy`",
    ),
    Variable(
        "DEPLOY_DIR_IMAGE",
        "outputs",
        None,
        f"The folder in which the images of other recipes are found. {_IN_THE_CLASS}",
        "A path; a relative one is meant from `TOPDIR`.",
        "`--deploy-dir`, else `./deploy`",
    ),
    Variable(
        "OCI_IMAGE_BACKEND",
        "build",
        "umoci",
        "Which tool the older class was to use. None is needed here; with `sloci-image` archives are"
        " [named as that tool names them](outputs.md#names-of-sloci-image), and several layers or a base image are an"
        " error.",
        "`umoci` or `sloci-image`.",
    ),
    Variable(
        "IMAGE_ROOTFS",
        "build",
        None,
        f"The root file system. {_IN_THE_CLASS}",
        "A directory or a tar archive; a relative path is meant from `TOPDIR`.",
        "`--rootfs`",
    ),
    Variable(
        "TOPDIR",
        "build",
        None,
        f"The folder of the build. {_IN_THE_CLASS}",
        "A path.",
        "the configuration file's folder",
    ),
    Variable(
        "TARGET_ARCH",
        "build",
        None,
        f"The processor architecture in Yocto's words. {_IN_THE_CLASS}",
        "A word such as `x86_64`, `aarch64` or `arm`.",
        "the host's",
    ),
    Variable(
        "TUNE_FEATURES",
        "build",
        None,
        f"What the compiler may use of the processor; tells the variant of `arm`. {_IN_THE_CLASS}",
        "Words.",
        "on a 32-bit arm host `armv7`, `armv6` or `armv5`",
    ),
    Variable(
        "SOURCE_DATE_EPOCH",
        "build",
        None,
        "The latest time an entry of the image may have, and the time of what the build itself makes.",
        "Whole seconds since 1970.",
        "rootfs times become 0, and `created` is the date of the commit",
    ),
    Variable(
        "REPRODUCIBLE_TIMESTAMP_ROOTFS",
        "build",
        None,
        f"Wins over `SOURCE_DATE_EPOCH`. {_IN_THE_CLASS}",
        "Whole seconds since 1970.",
        "`SOURCE_DATE_EPOCH` holds",
    ),
)

VARIABLES = {variable.name: variable for variable in TABLE}
ORDER = {variable.name: place for place, variable in enumerate(TABLE)}


def known_as(name: str) -> str:
    """The name under which the table has a variable, if it has it: those with a number stand there with `<n>`."""
    return LAID_OUT if number_of(name) else name


def number_of(name: str) -> int:
    """The number of the layer of packages that a variable says something of, from 1 on; 0 for other variables."""
    match = re.fullmatch(LAID_OUT.replace("<n>", "([1-9][0-9]{0,5})"), name, re.ASCII)
    return int(match[1]) if match else 0

# SPDX-License-Identifier: MIT
#
# Puts the images that several multiconfigs build of one recipe into one layout with an image index, from which each
# machine takes the image of its own platform. docs/how-to/multi-architecture.md shows how; the work is done by
# oe_oci/bitbake_multiarch.py.

inherit nopackages

INHIBIT_DEFAULT_DEPS = "1"
EXCLUDE_FROM_WORLD = "1"
# The layout lies in the machine's folder.
PACKAGE_ARCH = "${MACHINE_ARCH}"

OCI_MULTIARCH_RECIPE ??= ""
OCI_MULTIARCH_PLATFORMS ??= ""
# As in the image's own recipe: its files are found by it.
IMAGE_BASENAME ??= "${OCI_MULTIARCH_RECIPE}"
OCI_MULTIARCH_OUTPUT = "${DEPLOY_DIR_IMAGE}/${PN}-multiarch-oci"

OCI_MULTIARCH_MC[aarch64] ?= "container-aarch64"
OCI_MULTIARCH_MC[x86_64] ?= "container-x86-64"
OCI_MULTIARCH_MACHINE[aarch64] ?= "qemuarm64"
OCI_MULTIARCH_MACHINE[x86_64] ?= "qemux86-64"
OCI_ARCH_TO_PLATFORM[aarch64] ?= "arm64"
OCI_ARCH_TO_PLATFORM[x86_64] ?= "amd64"

deltask do_fetch
deltask do_unpack
deltask do_patch
deltask do_configure
deltask do_compile
deltask do_install
deltask do_populate_lic
deltask do_populate_sysroot

python __anonymous() {
    from oe_oci import bitbake_multiarch, errors

    try:
        reason = bitbake_multiarch.prepare(d)
    except errors.OciError as error:
        bb.fatal("%s: %s" % (d.getVar("PN"), error))
    if reason:
        raise bb.parse.SkipRecipe(reason)
}

python do_create_multiarch_index() {
    from oe_oci import bitbake_multiarch, errors

    try:
        bb.note(bitbake_multiarch.merge_images(d, bb.parse.handle))
    except errors.OciError as error:
        bb.fatal("%s: %s" % (d.getVar("PN"), error))
}
addtask create_multiarch_index before do_build

# For those who depend on it; the layout is where it belongs once it is made.
do_deploy() {
    :
}
do_deploy[noexec] = "1"
addtask deploy after do_create_multiarch_index before do_build

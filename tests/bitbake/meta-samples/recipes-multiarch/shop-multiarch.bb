# SPDX-License-Identifier: MIT
SUMMARY = "The shop for three platforms"
LICENSE = "MIT"
inherit oci-multiarch
OCI_MULTIARCH_RECIPE = "shop"
OCI_MULTIARCH_PLATFORMS ?= "x86_64 aarch64 armv7"
OCI_MULTIARCH_MC[armv7] = "arm7"

# Recipes work on the layout when it is made.
do_create_multiarch_index[postfuncs] += "note_layout"
note_layout () {
	cp ${OCI_MULTIARCH_OUTPUT}/index.json ${DEPLOY_DIR_IMAGE}/${PN}.noted
}

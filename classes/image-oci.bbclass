# SPDX-License-Identifier: MIT
#
# Makes an OCI container image of a recipe: `inherit image image-oci`, or IMAGE_CLASSES += "image-oci", and `oci` in
# IMAGE_FSTYPES. Every variable is described in docs/reference/variables.md.

OCI_IMAGE_BACKEND ?= "umoci"
OCI_IMAGE_TAG ?= "latest"
OCI_IMAGE_NAME ?= "localhost/${IMAGE_BASENAME}"
OCI_IMAGE_ARCH ?= "${@oe_oci.bitbake.architecture(d)}"
OCI_IMAGE_SUBARCH ?= "${@oe_oci.bitbake.variant(d)}"
# BitBake does not see what the function reads: in the signature is what it comes to.
OCI_IMAGE_SUBARCH[vardepvalue] = "${OCI_IMAGE_SUBARCH}"
OCI_IMAGE_OS ?= "linux"
OCI_IMAGE_AUTHOR ?= "${@d.getVar('PATCH_GIT_USER_NAME') or ''}"
OCI_IMAGE_AUTHOR_EMAIL ?= "${@d.getVar('PATCH_GIT_USER_EMAIL') or ''}"

OCI_IMAGE_ENTRYPOINT ?= ""
OCI_IMAGE_ENTRYPOINT_ARGS ?= ""
OCI_IMAGE_CMD ?= "/bin/sh"
OCI_IMAGE_ENV_VARS ?= ""
OCI_IMAGE_RUNTIME_UID ?= ""
OCI_IMAGE_WORKINGDIR ?= ""
OCI_IMAGE_STOPSIGNAL ?= ""
OCI_IMAGE_PORTS ?= ""
OCI_IMAGE_VOLUMES ?= ""

OCI_LAYERS ?= ""
OCI_ROOTFS_LAYER ?= "${@oe_oci.bitbake.rest_layer(d)}"
OCI_ROOTFS_PACKAGES ?= "${WORKDIR}/oci/packages.json"
OCI_LAYER_KEEP_EMPTY ?= "0"
OCI_HOST_OWNER ?= "0:0"
OCI_IMAGE_PATHS ?= ""
OCI_IMAGE_ACCOUNTS ?= ""
OCI_LAYER_COMPRESSION ?= "gzip"
OCI_LAYER_COMPRESSOR ?= "auto"
OCI_LAYER_CACHE ?= "1"
OCI_LAYER_CACHE_DIR ?= "${TOPDIR}/oci-layer-cache/${MACHINE}"

OCI_PACKAGE_MANAGER ?= "auto"
OCI_PACKAGE_SCRIPTS ?= "run"
OCI_PACKAGE_DATABASE ?= "${@bb.utils.contains('IMAGE_FEATURES', 'package-management', 'keep', 'remove', d)}"

# pseudo of the newer series tracks only what begins as the rootfs does.
OCI_WORK_DIR ?= "${WORKDIR}/rootfs-oci-work"

OCI_BASE_IMAGE ?= ""
OCI_BASE_IMAGE_TAG ?= "latest"

OCI_IMAGE_LABELS ?= ""
OCI_IMAGE_ANNOTATIONS ?= ""
OCI_IMAGE_AUTO_LABELS ?= "1"
OCI_IMAGE_REVISION ?= ""
OCI_IMAGE_BRANCH ?= ""
OCI_IMAGE_BUILD_DATE ?= ""
OCI_IMAGE_APP_RECIPE ?= ""

OCI_IMAGE_TAR_OUTPUT ?= "true"
OCI_IMAGE_TAR_COMPRESSION ?= ""

# Series before whinlatter track every path but these, newer ones only those with the prefix of the rootfs. Beside the
# Python files compiled ones are written, which another process replaces; pseudo then ends the task.
PSEUDO_IGNORE_PATHS .= ",${OCI_LAYER_CACHE_DIR},${WORKDIR}/oci,${OE_OCI_LAYERDIR}/oe_oci"

# For the task's environment: what a function refers to is in the signature as it stands.
OE_OCI_LAYERDIR[export] = "1"

do_image_oci[progress] = "outof:layer \S+ \((\d+) of (\d+)\)$"

python () {
    oe_oci.bitbake.prepare(d)
}

python oci_begin () {
    oe_oci.bitbake_task.begin(d)
}

python oci_write_conf () {
    oe_oci.bitbake_task.write_conf(d)
}

python oci_refresh () {
    oe_oci.bitbake_task.refresh(d)
}

# Recipes append to this and use its variables and its working directory.
IMAGE_CMD:oci () {
	cd ${IMGDEPLOYDIR}
	OCI_REUSE_IMAGE=""
	new_image=t
	image_tag="${@(d.getVar('OCI_IMAGE_TAG') or '').replace('/', '_').replace(':', '_')}"
	image_name="${IMAGE_NAME}${IMAGE_NAME_SUFFIX}-oci"
	image_bundle_name="${IMAGE_NAME}${IMAGE_NAME_SUFFIX}-oci-bundle"
	if [ "${OCI_IMAGE_BACKEND}" = sloci-image ]; then
		unset image_name  # by which recipes tell that outputs have that tool's names
	fi
	export INTERCEPT_DIR="${WORKDIR}/oci/intercepts" NATIVE_ROOT="${STAGING_DIR_NATIVE}"
	{
		PYTHONPATH="$OE_OCI_LAYERDIR" python3 -m oe_oci build -v ${WORKDIR}/oci/image.conf 2>&1 ||
			touch ${WORKDIR}/oci/failed
	} | tee ${WORKDIR}/oci/said
	# Of files of this machine there was a warning when the recipe was read.
	sed -n -e 's/^oe-oci: warning: //p' -e 's/^note: \(kept as edited in the layers, .*\)/\1/p' ${WORKDIR}/oci/said |
		grep -v '^files of this host ' >${WORKDIR}/oci/warnings || true
	while read -r warning; do
		bbwarn "$warning"
	done <${WORKDIR}/oci/warnings
	if [ -e ${WORKDIR}/oci/failed ]; then
		bbfatal "$(sed -e '/^oe-oci: [a-z]*: /d' -e 's/^oe-oci: //' -e 's,${WORKDIR}/oci/image.conf:[0-9]*: ,,' \
			${WORKDIR}/oci/said)"
	fi
}

# SPDX-License-Identifier: MIT
SUMMARY = "A package is gone from the feed where SAMPLES_BREAK is set"
OCI_LAYERS = "system:packages:base-files,base-passwd,busybox app:packages:app,"
OCI_PACKAGE_MANAGER = "native"
inherit sample-image

OCI_LAYER_CACHE_DIR = "${TOPDIR}/failing-cache"
SAMPLES_BREAK ?= ""
do_rootfs[postfuncs] += "${@'break_feed' if d.getVar('SAMPLES_BREAK') else ''}"

break_feed () {
	find ${WORKDIR}/oe-rootfs-repo -name 'app[-_]1.0*' -delete
}

# SPDX-License-Identifier: MIT
SUMMARY = "What decides an image, all of it"
OCI_BASE_IMAGE = "base"
OCI_LAYERS = "app:packages:settings, key:host:${TOPDIR}/host-file:/etc/key,"
SAMPLES_APPENDED ?= "1"
inherit sample-image
IMAGE_CMD:oci:append () {
	echo ${SAMPLES_APPENDED}
}

change_nothing () {
	:
}

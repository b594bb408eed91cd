# SPDX-License-Identifier: MIT
SUMMARY = "One layer on a layout that lies somewhere"
OCI_BASE_IMAGE = "${TOPDIR}/base-layout"
IMAGE_INSTALL = "base-files base-passwd busybox modes links"
inherit sample-image

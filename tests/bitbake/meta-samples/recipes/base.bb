# SPDX-License-Identifier: MIT
SUMMARY = "What other images are made on"
IMAGE_INSTALL = "base-files base-passwd busybox modes"
REPRODUCIBLE_TIMESTAMP_ROOTFS = "1600000000"
OCI_IMAGE_ENV_VARS = "FROM=base"
inherit sample-image

# SPDX-License-Identifier: MIT
SUMMARY = "A program on the base of containers"
LICENSE = "MIT"
IMAGE_FSTYPES = "container oci"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
NO_RECOMMENDATIONS = "1"
IMAGE_CONTAINER_NO_DUMMY = "1"
IMAGE_INSTALL = "base-files base-passwd netbase busybox curl"
OCI_BASE_IMAGE = "container-base"
OCI_IMAGE_CMD = "/bin/sh -c 'echo Hello from a layered container'"
OCI_ROOTFS_LAYER = ""

inherit image
inherit image-oci

# SPDX-License-Identifier: MIT
SUMMARY = "What containers are made on"
LICENSE = "MIT"
IMAGE_FSTYPES = "container oci"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
NO_RECOMMENDATIONS = "1"
IMAGE_CONTAINER_NO_DUMMY = "1"
IMAGE_INSTALL = "base-files base-passwd netbase"
OCI_ROOTFS_LAYER = ""

inherit image
inherit image-oci

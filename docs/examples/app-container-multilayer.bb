# SPDX-License-Identifier: MIT
SUMMARY = "A program in three layers"
LICENSE = "MIT"
IMAGE_FSTYPES = "container oci"
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
NO_RECOMMENDATIONS = "1"
IMAGE_CONTAINER_NO_DUMMY = "1"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "\
    base:packages:base-files+base-passwd+netbase \
    shell:packages:busybox \
    app:packages:curl \
"
OCI_IMAGE_CMD = "/bin/sh -c 'echo Hello from a container of layers && curl --version'"
OCI_ROOTFS_LAYER = ""

inherit image
inherit image-oci

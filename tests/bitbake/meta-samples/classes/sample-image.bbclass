# SPDX-License-Identifier: MIT
# An image as recipes have it, and beside it a tar of the same root file system.
LICENSE = "MIT"
IMAGE_FSTYPES = "oci tar"
inherit image image-oci
IMAGE_FEATURES ?= ""
IMAGE_CMD_TAR = "tar --xattrs --xattrs-include=*"

# SPDX-License-Identifier: MIT
# An image as recipes have it, whichever class of the name makes it.
LICENSE = "MIT"
IMAGE_FSTYPES = "container oci"
inherit image image-oci
IMAGE_FEATURES = ""
# A container has no kernel, and no package that stands for one.
IMAGE_CONTAINER_NO_DUMMY = "1"

# SPDX-License-Identifier: MIT
SUMMARY = "A recipe that knows nothing of this layer"
LICENSE = "MIT"
IMAGE_INSTALL = "base-files base-passwd"
inherit image

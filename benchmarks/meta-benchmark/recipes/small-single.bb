# SPDX-License-Identifier: MIT
SUMMARY = "A few small packages in one layer"
IMAGE_INSTALL = "base-files base-passwd busybox links names liba app settings data"
inherit benchmark-image

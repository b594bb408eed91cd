# SPDX-License-Identifier: MIT
SUMMARY = "A small image"
IMAGE_INSTALL = "base-files busybox settings"
inherit sample-image

# SPDX-License-Identifier: MIT
SUMMARY = "A small image"
IMAGE_INSTALL = "base-files settings"
inherit sample-image

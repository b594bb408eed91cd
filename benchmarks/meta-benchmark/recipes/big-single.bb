# SPDX-License-Identifier: MIT
SUMMARY = "233 MB in one layer"
IMAGE_INSTALL = "base-files base-passwd busybox payload-1 payload-2 payload-3 payload-4"
inherit benchmark-image

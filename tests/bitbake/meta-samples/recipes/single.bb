# SPDX-License-Identifier: MIT
SUMMARY = "All there is, in one layer"
IMAGE_INSTALL = "base-files base-passwd busybox modes links names data settings app libfoo++ libren"
BAD_RECOMMENDATIONS = "unwanted"
PACKAGE_EXCLUDE = "excluded"
inherit sample-image sample-changes

# SPDX-License-Identifier: MIT
SUMMARY = "Layers of which one changes while the cache keeps the others"
OCI_LAYERS = "system:packages:base-files,base-passwd,busybox,modes settings:packages:settings,"
OCI_PACKAGE_MANAGER = "native"
inherit sample-image

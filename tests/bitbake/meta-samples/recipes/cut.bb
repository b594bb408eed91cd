# SPDX-License-Identifier: MIT
SUMMARY = "Layers that are cut from the rootfs"
require multi.bb
OCI_PACKAGE_MANAGER = "rootfs"

# SPDX-License-Identifier: MIT
SUMMARY = "Layers that the package manager installs"
require multi.bb
OCI_PACKAGE_MANAGER = "native"

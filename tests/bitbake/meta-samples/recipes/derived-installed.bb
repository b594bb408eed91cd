# SPDX-License-Identifier: MIT
SUMMARY = "Layers on a base that the package manager installs"
require derived-multi.bb
OCI_PACKAGE_MANAGER = "native"

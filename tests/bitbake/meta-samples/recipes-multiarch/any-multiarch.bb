# SPDX-License-Identifier: MIT
SUMMARY = "What MCNAME says, for two platforms"
LICENSE = "MIT"
inherit oci-multiarch
BBCLASSEXTEND = "mcextend:shop"
OCI_MULTIARCH_RECIPE = "${MCNAME}"
OCI_MULTIARCH_PLATFORMS = "x86_64 aarch64"

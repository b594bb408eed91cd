# SPDX-License-Identifier: MIT
SUMMARY = "One layer on a base that a recipe makes"
OCI_BASE_IMAGE = "base"
IMAGE_INSTALL = "base-files base-passwd busybox modes links names app settings"
OCI_IMAGE_ENV_VARS = "MORE=derived"
inherit sample-image sample-changes

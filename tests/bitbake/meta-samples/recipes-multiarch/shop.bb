# SPDX-License-Identifier: MIT
SUMMARY = "What is put together"
IMAGE_INSTALL = "base-files settings"
inherit sample-image

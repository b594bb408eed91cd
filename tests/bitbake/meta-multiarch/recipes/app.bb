# SPDX-License-Identifier: MIT
SUMMARY = "what is put together"
IMAGE_INSTALL = "base-files hp-conf"
inherit harness-image

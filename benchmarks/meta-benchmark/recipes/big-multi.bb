# SPDX-License-Identifier: MIT
SUMMARY = "233 MB in four layers of packages"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "\
    one:packages:base-files+base-passwd+busybox+payload-1 \
    two:packages:payload-2 \
    three:packages:payload-3 \
    four:packages:payload-4 \
"
IMAGE_INSTALL = "base-files base-passwd busybox payload-1 payload-2 payload-3 payload-4"
inherit benchmark-image

# SPDX-License-Identifier: MIT
SUMMARY = "Layers on a base that a recipe makes, of which the first has nothing that the base has not"
OCI_BASE_IMAGE = "base"
OCI_LAYER_KEEP_EMPTY = "1"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "\
    same:packages:busybox \
    system:packages:base-files+base-passwd+modes \
    more:packages:links+names \
    app:packages:app+settings \
"
inherit sample-image sample-changes

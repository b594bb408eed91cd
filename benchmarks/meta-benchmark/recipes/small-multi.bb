# SPDX-License-Identifier: MIT
SUMMARY = "A few small packages in six layers of all four types"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "\
    base:packages:base-files+base-passwd+busybox \
    libs:packages:links+names+liba \
    app:packages:app+settings \
    data:directories:/opt/data \
    files:files:/etc/motd+/etc/issue \
    host:host:${SAMPLES}/conf/layer.conf:/etc/from-host \
"
IMAGE_INSTALL = "base-files base-passwd busybox links names liba app settings data"
inherit benchmark-image

# SPDX-License-Identifier: MIT
SUMMARY = "Layers of all four types, and packages that are in none"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "\
    base:packages:base-files+base-passwd+busybox \
    libs:packages:modes+links+names+liba \
    app:packages:app+settings+libren \
    plus:packages:libfoo++, \
    data:directories:/opt/data \
    files:files:/etc/added+/etc/motd \
    host:host:${SAMPLES}/conf/layer.conf:/etc/from-host \
"
IMAGE_INSTALL = "data outside"
BAD_RECOMMENDATIONS = "unwanted"
PACKAGE_EXCLUDE = "excluded"
OCI_IMAGE_ENTRYPOINT = "/usr/bin/app"
OCI_IMAGE_CMD = "--say 'hello there'"
OCI_IMAGE_LABELS = "org.example.one=1 org.example.two='two words'"
OCI_IMAGE_ENV_VARS = "A=1 B='two words'"
OCI_IMAGE_PORTS = "8080/tcp 53/udp"
OCI_IMAGE_WORKINGDIR = "/var/lib/samples"
OCI_IMAGE_RUNTIME_UID = "1234"
OCI_IMAGE_STOPSIGNAL = "SIGTERM"
inherit sample-image sample-changes

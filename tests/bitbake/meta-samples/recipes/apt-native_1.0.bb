# SPDX-License-Identifier: MIT
inherit host-tools
DEPENDS += "dpkg-native"
TOOLS = "apt-cache apt-config apt-ftparchive"
# openembedded-core fills in the names of the root and of apt's folder, and the architecture.
do_install:append () {
	install -d ${D}${sysconfdir}/apt
	install -m 0644 ${SAMPLES}/recipes/files/apt.conf ${D}${sysconfdir}/apt/apt.conf.sample
	wrapper apt-get <<END
#!/bin/sh
if [ -n "\$APT_CONFIG" ]; then
    folder=\$(dirname "\$APT_CONFIG")
    mkdir -p "\$folder/cache/archives/partial" "\$folder/state/lists/partial" "\$folder/log"
fi
exec $(host_tool apt-get) "\$@"
END
}
do_install[file-checksums] = "${SAMPLES}/recipes/files/apt.conf:True"

# SPDX-License-Identifier: MIT
inherit host-tools
DEPENDS += "rpm-native"
# Of openembedded-core's dnf and rpm: scriptlets run outside the installation root, any architecture is taken, and the
# log does not lie below the root.
do_install:append () {
	install -d ${D}${libdir}/scriptlets
	gcc -shared -fPIC -O1 -o ${D}${libdir}/scriptlets/outside.so ${SAMPLES}/recipes/files/outside.c -ldl
	printf '%%_tmppath /tmp\n%%_dbpath /var/lib/rpm\n%%_db_backend sqlite\n' >${D}${libdir}/scriptlets/.rpmmacros
	sed -e "s,@DNF@,$(host_tool dnf)," ${SAMPLES}/recipes/files/dnf | wrapper dnf
}
do_install[file-checksums] = "${SAMPLES}/recipes/files/outside.c:True ${SAMPLES}/recipes/files/dnf:True"

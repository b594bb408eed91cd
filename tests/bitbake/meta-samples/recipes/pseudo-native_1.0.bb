# SPDX-License-Identifier: MIT
inherit host-tools
PROVIDES += "virtual/fakeroot-native"
# The folder that holds bin/pseudo and its library; of a file of accounts only numbers are needed.
do_install () {
	install -d ${D}${bindir} ${D}${prefix}/lib/pseudo/lib ${D}${prefix}/lib/pseudo/lib64 ${D}${sysconfdir}
	install -m 0755 ${SAMPLES_PSEUDO}/bin/pseudo ${SAMPLES_PSEUDO}/bin/pseudodb ${SAMPLES_PSEUDO}/bin/pseudolog ${D}${bindir}
	library=$(find ${SAMPLES_PSEUDO}/lib -name libpseudo.so | head -n 1)
	install -m 0755 $library ${D}${prefix}/lib/pseudo/lib
	install -m 0755 $library ${D}${prefix}/lib/pseudo/lib64
	echo 'root:x:0:0::/:/bin/sh' >${D}${sysconfdir}/passwd
	printf '%s:x:%s:\n' root 0 tty 5 mail 8 shadow 42 utmp 43 >${D}${sysconfdir}/group
}

# SPDX-License-Identifier: MIT
# Something of the name, for recipes that people have.
inherit sample-package
do_install () {
	install -d ${D}${sysconfdir}
	echo netbase >${D}${sysconfdir}/services
}

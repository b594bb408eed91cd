# SPDX-License-Identifier: MIT
# Something of the name, for recipes that people have.
inherit sample-package
SAMPLES_CURL ?= "1"
do_install () {
	install -d ${D}${sysconfdir}
	echo "${SAMPLES_CURL}" >${D}${sysconfdir}/curlrc
}

# SPDX-License-Identifier: MIT
# What an image is made with, and no layer names.
inherit allarch sample-package
SAMPLES_OUTSIDE ?= "1"
do_install () {
	install -d ${D}${bindir} ${D}${datadir}/outside
	install -m 4755 /dev/null ${D}${bindir}/outside
	echo '${SAMPLES_OUTSIDE}' >${D}${datadir}/outside/file
}

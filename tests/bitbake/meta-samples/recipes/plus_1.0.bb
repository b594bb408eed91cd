# SPDX-License-Identifier: MIT
# Names that end in ++, beside the same ones that do not.
inherit sample-package
PACKAGES = "libfoo++ libfoo"
FILES:libfoo++ = "${libdir}/libfoo++.txt"
FILES:libfoo = "${libdir}/libfoo.txt"
do_install () {
	install -d ${D}${libdir}
	echo plus >${D}${libdir}/libfoo++.txt
	echo plain >${D}${libdir}/libfoo.txt
}

# SPDX-License-Identifier: MIT
# A program that needs a library that needs another, and recommends what images may not want.
inherit sample-package update-alternatives
PACKAGES = "app libb liba nice unwanted excluded"
FILES:app = "${bindir}"
FILES:liba = "${libdir}/liba.txt"
FILES:libb = "${libdir}/libb.txt"
FILES:nice = "${datadir}/nice"
FILES:unwanted = "${datadir}/unwanted"
FILES:excluded = "${datadir}/excluded"
RDEPENDS:app = "libb"
RDEPENDS:libb = "liba"
RRECOMMENDS:app = "nice unwanted excluded"
do_install () {
	install -d ${D}${bindir} ${D}${libdir} ${D}${datadir}
	install -m 0755 /dev/null ${D}${bindir}/app
	echo 'a better pager' >${D}${bindir}/pager
	chmod 0755 ${D}${bindir}/pager
	for library in liba libb; do
		echo $library >${D}${libdir}/$library.txt
	done
	for name in nice unwanted excluded; do
		echo $name >${D}${datadir}/$name
	done
}
ALTERNATIVE:app = "pager"
ALTERNATIVE_LINK_NAME[pager] = "${bindir}/pager"
ALTERNATIVE_PRIORITY = "20"

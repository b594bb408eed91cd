# SPDX-License-Identifier: MIT
# Something of the name, with a shell as far as packages ask for one.
inherit sample-package update-alternatives
do_install () {
	install -d ${D}${base_bindir} ${D}${bindir}
	echo 'not a shell' >${D}${base_bindir}/busybox
	chmod 0755 ${D}${base_bindir}/busybox
	ln -s busybox ${D}${base_bindir}/sh
	echo 'a pager' >${D}${bindir}/pager
	chmod 0755 ${D}${bindir}/pager
}
RPROVIDES:${PN} = "/bin/sh"
ALTERNATIVE:${PN} = "pager"
ALTERNATIVE_LINK_NAME[pager] = "${bindir}/pager"

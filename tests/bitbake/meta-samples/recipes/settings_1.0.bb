# SPDX-License-Identifier: MIT
# A configuration file, whose content changes with SAMPLES_SETTING and no version, and a script.
inherit allarch sample-package
SAMPLES_SETTING ?= "1"
do_install () {
	install -d ${D}${sysconfdir}
	echo 'setting=${SAMPLES_SETTING}' >${D}${sysconfdir}/settings.conf
}
CONFFILES:${PN} = "${sysconfdir}/settings.conf"
pkg_postinst:${PN} () {
	cat $D${sysconfdir}/settings.conf >$D${sysconfdir}/settings.ran
	chmod 0640 $D${sysconfdir}/settings.ran
}

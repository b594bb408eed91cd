# SPDX-License-Identifier: MIT
# The accounts, with a root that needs no password, as openembedded-core's: what makes an image has to lock it.
inherit sample-package
do_install () {
	install -d ${D}${sysconfdir}
	cat >${D}${sysconfdir}/passwd <<-END
		root::0:0:root:/root:/bin/sh
		app:x:1234:1234:app:/var/lib/samples:/bin/sh
		nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
	END
	printf '%s:x:%s:\n' root 0 tty 5 mail 8 shadow 42 utmp 43 app 1234 nogroup 65534 >${D}${sysconfdir}/group
}
# Recipes that depend on this one may name the accounts.
SYSROOT_DIRS += "${sysconfdir}"

# SPDX-License-Identifier: MIT
# Owners, modes, links and names that are easily lost.
inherit sample-package
DEPENDS = "base-passwd"
PACKAGES = "modes links names data"

FILES:modes = "${bindir} ${nonarch_libdir} ${localstatedir}"
RDEPENDS:modes = "base-passwd"
FILES:links = "${datadir}/links"
FILES:names = "${datadir}/names /.hidden"
FILES:data = "/opt"
RDEPENDS:data = "base-passwd"

do_install () {
	install -d ${D}${bindir} ${D}${nonarch_libdir}/samples ${D}${datadir}
	install -m 4111 /dev/null ${D}${bindir}/setuid
	install -m 2755 -g shadow /dev/null ${D}${bindir}/setgid
	install -d -m 1777 ${D}${nonarch_libdir}/samples/sticky
	install -d -m 0555 ${D}${nonarch_libdir}/samples/read-only
	install -d -m 0750 -o app -g app ${D}${localstatedir}/lib/samples
	echo secret >${D}${localstatedir}/lib/samples/secret
	echo nothing >${D}${localstatedir}/lib/samples/nothing
	chown app:app ${D}${localstatedir}/lib/samples/*
	chmod 0400 ${D}${localstatedir}/lib/samples/secret
	chmod 0000 ${D}${localstatedir}/lib/samples/nothing

	install -d ${D}${datadir}/links/a ${D}${datadir}/links/b/c
	echo one >${D}${datadir}/links/a/one
	ln ${D}${datadir}/links/a/one ${D}${datadir}/links/a/two
	ln ${D}${datadir}/links/a/one ${D}${datadir}/links/b/c/three
	ln -s a ${D}${datadir}/links/directory
	ln -s ${datadir}/links/a/one ${D}${datadir}/links/absolute
	ln -s ../../nowhere ${D}${datadir}/links/dangling

	install -d ${D}${datadir}/names/empty
	for name in 'a blank' 'ümlaut' 'plus++' '.hidden' '-dash' 'per%cent'; do
		echo "$name" >"${D}${datadir}/names/$name"
	done
	echo hidden >${D}/.hidden

	install -d ${D}/opt/data/empty
	install -d -m 0700 -o app -g app ${D}/opt/data/own
	echo own >${D}/opt/data/own/file
	chown app:app ${D}/opt/data/own/file
	ln ${D}/opt/data/own/file ${D}/opt/data/same
	install -m 4755 /dev/null ${D}/opt/data/setuid
	ln -s own/file ${D}/opt/data/link
}

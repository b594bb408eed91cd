# SPDX-License-Identifier: MIT
# A library, of which debian.bbclass names the package after its version.
inherit sample-package
# This machine's objdump reads it.
TARGET_PREFIX = ""
do_install () {
	install -d ${D}${libdir}
	echo 'int answer(void) { return 42; }' | \
		gcc -x c -shared -fPIC -nostdlib -Wl,-soname,libren.so.3 -Wl,--build-id=none -o ${D}${libdir}/libren.so.3 -
	ln -s libren.so.3 ${D}${libdir}/libren.so
}

# SPDX-License-Identifier: MIT
inherit host-tools
PROVIDES += "virtual/update-alternatives-native"
TOOLS = "${@'opkg-build opkg-make-index' if d.getVar('IMAGE_PKGTYPE') == 'ipk' else ''}"
# The script of opkg-utils for all formats, as in openembedded-core: Debian's program of that name has another database.
do_install:append () {
	script=$(dirname $(readlink -f $(host_tool opkg-build)))/update-alternatives
	[ -f $script ] || bbfatal "$script is not there"
	install -m 0755 -D $script ${D}${bindir}/update-alternatives
}

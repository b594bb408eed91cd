# SPDX-License-Identifier: MIT
inherit host-tools
TOOLS = "dpkg-deb dpkg-query dpkg-split dpkg-divert dpkg-statoverride dpkg-trigger"
# openembedded-core's dpkg runs scripts outside the root; so does Debian's, where only variables tell them of the root.
do_install:append () {
	wrapper dpkg <<END
#!/bin/sh
for word in "\$@"; do
    case "\$word" in
        --root=*|--instdir=*) export D="\${word#*=}" OPKG_OFFLINE_ROOT="\${word#*=}" ;;
    esac
done
exec $(host_tool dpkg) "\$@"
END
}

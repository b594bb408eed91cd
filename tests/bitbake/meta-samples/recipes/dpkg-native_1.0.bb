# SPDX-License-Identifier: MIT
inherit host-tools
TOOLS = "dpkg-deb dpkg-query dpkg-split dpkg-divert dpkg-statoverride dpkg-trigger"
# openembedded-core's dpkg runs scripts outside the root; so does Debian's, but only there they learn of the root by D.
do_install:append () {
	wrapper dpkg <<END
#!/bin/sh
for word in "\$@"; do
    case "\$word" in
        --root=*|--instdir=*) export D="\${word#*=}" ;;
    esac
done
exec $(host_tool dpkg) "\$@"
END
}

# SPDX-License-Identifier: MIT
# Programs of this machine, for the recipes that depend on them: without the dependency they are not found, as in any
# other build.
inherit nothing-fetched native

TOOLS ?= ""
TOOLS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Prints where a program of this machine lies.
host_tool () {
	PATH="${TOOLS_PATH}" command -v $1 || bbfatal "$1 is not installed on this machine"
}

# Makes a program of what comes on the standard input.
wrapper () {
	install -d ${D}${bindir}
	cat >${D}${bindir}/$1
	chmod 0755 ${D}${bindir}/$1
}

# Of older series the shell's parser does not see what is called within quotes.
do_install[vardeps] += "host_tool"
do_install () {
	for tool in ${TOOLS}; do
		printf '#!/bin/sh\nexec %s "$@"\n' "$(host_tool $tool)" | wrapper $tool
	done
}

# SPDX-License-Identifier: MIT
inherit host-tools
do_install () {
	printf '#!/bin/sh\nexec %s "$@"\n' $(host_tool bzip2) | wrapper pbzip2
}

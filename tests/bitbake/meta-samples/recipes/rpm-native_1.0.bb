# SPDX-License-Identifier: MIT
inherit host-tools
TOOLS = "${@'rpmkeys rpm2cpio rpmdb rpmspec' if d.getVar('IMAGE_PKGTYPE') == 'rpm' else ''}"
# Debian's rpm has its database in the home of who runs it; and it records that a build was cut short, as what nobody
# provides: the stages that --short-circuit leaves out are empty here.
do_install:append () {
	[ "${IMAGE_PKGTYPE}" = rpm ] || return 0
	printf '#!/bin/sh\nexec %s --define "_dbpath /var/lib/rpm" "$@"\n' $(host_tool rpm) | wrapper rpm
	wrapper rpmbuild <<END
#!/usr/bin/python3
import os, sys
stages = ("prep", "build", "install", "clean")
macros = [f"__spec_{stage}_template %{{nil}}" for stage in stages] + ["__os_install_post %{nil}", "__spec_install_pre %{nil}"]
macros.append("clamp_mtime_to_source_date_epoch 1")  # which newer ones have another name for
defines = [word for macro in macros for word in ("--define", macro)]
words = [word for word in sys.argv[1:] if word != "--short-circuit"]
os.execv("$(host_tool rpmbuild)", ["rpmbuild", *defines, "--noprep", "--nocheck", *words])
END
}

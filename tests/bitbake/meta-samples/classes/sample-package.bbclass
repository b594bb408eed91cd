# SPDX-License-Identifier: MIT
# A recipe that makes its files in do_install, and one package of them.
inherit nothing-fetched
SUMMARY ?= "${PN}"
PACKAGES = "${PN}"
FILES:${PN} = "/"
# What is made here is odd on purpose.
do_package_qa[noexec] = "1"

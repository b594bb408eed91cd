# SPDX-License-Identifier: MIT
inherit host-tools
TOOLS = "createrepo_c mergerepo_c modifyrepo_c"

# SPDX-License-Identifier: MIT
inherit host-tools
TOOLS = "jq"

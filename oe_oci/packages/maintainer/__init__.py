# SPDX-License-Identifier: MIT
"""What packages do when they are installed: maintainers' scripts, run, left to the first boot, or left out.

Must not know feeds, or how packages are chosen.
"""

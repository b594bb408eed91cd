# SPDX-License-Identifier: MIT
"""Real package managers: apt, opkg and dnf install into a directory, and what they did there becomes a layer.

`manager` is what one is to the rest, `root` the directory, `installer` the work around both; a module each knows how
one tool is called.
"""

# SPDX-License-Identifier: MIT
"""Multi-layer OCI container images for BitBake/Yocto builds."""

__version__ = "0.1.0"

# SPDX-License-Identifier: MIT
"""Multi-layer OCI container images for BitBake/Yocto builds."""

__version__ = "0.1.0"

# What the layer's `addpylib` has BitBake load: recipes and classes call it as `oe_oci.bitbake` and so on.
BBIMPORTS = ["bitbake", "bitbake_task"]

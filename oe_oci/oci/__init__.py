# SPDX-License-Identifier: MIT
"""The OCI image format: values, layouts, images. Knows nothing of packages, trees or BitBake."""

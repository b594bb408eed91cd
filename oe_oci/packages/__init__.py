# SPDX-License-Identifier: MIT
"""Packages of deb and ipk feeds: found, resolved, read and installed without root and without the distribution's tools.

Must not know layers' blobs, caches or OCI documents.
"""

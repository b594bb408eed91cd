# SPDX-License-Identifier: MIT
"""What is special to rpm packages: their headers and payloads, their relations, how their files lie, their database.

Must not know layers' blobs, caches or OCI documents.
"""

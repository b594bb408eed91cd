# SPDX-License-Identifier: MIT
SUMMARY = "An image in which packages can be managed, as far as there is a database of them"
IMAGE_FEATURES = "package-management"
OCI_LAYERS = "system:packages:base-files,base-passwd,busybox lib:packages:liba,libfoo++ app:packages:app,settings"
IMAGE_INSTALL = "outside"
inherit sample-image
FEATURE_PACKAGES_package-management = ""

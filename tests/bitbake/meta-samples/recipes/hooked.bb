# SPDX-License-Identifier: MIT
SUMMARY = "A recipe that edits its layers, as people write it"
OCI_LAYER_MODE = "multi"
OCI_LAYERS = "system:packages:base-files+base-passwd+busybox app:packages:app"
OCI_IMAGE_TAG = "1.0"
OCI_PACKAGE_MANAGER = "native"
inherit sample-image

do_image_oci[prefuncs] += "edit_layers"

python edit_layers () {
    for number in range(1, int(d.getVar("OCI_LAYER_COUNT")) + 1):
        folder = d.getVar(f"OCI_LAYER_{number}_ROOTFS")
        accounts = os.path.join(folder, "etc/passwd")
        if os.path.exists(accounts):
            with open(accounts, "a") as file:
                file.write("nonroot:x:65532:65532::/home/nonroot:/bin/sh\n")
            bb.utils.mkdirhier(os.path.join(folder, "home/nonroot"))
            os.chown(os.path.join(folder, "home/nonroot"), 65532, 65532)
            bb.note("edited " + d.getVar(f"OCI_LAYER_{number}_NAME"))
}

# SPDX-License-Identifier: MIT
# An image of the whole root file system by the command line, as an input of oci-multiarch.
IMAGE_CMD:oci() {
    cat >${WORKDIR}/${IMAGE_BASENAME}.conf <<END
IMAGE_ROOTFS = "${IMAGE_ROOTFS}"
TARGET_ARCH = "${TARGET_ARCH}"
TUNE_FEATURES = "${TUNE_FEATURES}"
OCI_LAYER_CACHE = "0"
OCI_IMAGE_AUTO_LABELS = "0"
SOURCE_DATE_EPOCH = "1700000000"
END
    PYTHONPATH=${OE_OCI_TESTED} python3 -m oe_oci build ${WORKDIR}/${IMAGE_BASENAME}.conf --deploy-dir ${IMGDEPLOYDIR}
}

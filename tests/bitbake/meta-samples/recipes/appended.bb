# SPDX-License-Identifier: MIT
SUMMARY = "A task's function with more before and after it, as people write it"
IMAGE_INSTALL = "base-files base-passwd busybox settings"
OCI_IMAGE_TAG = "2.0"
inherit sample-image

do_image_oci[prefuncs] += "add_file"
do_image_oci[postfuncs] += "set_author say_so"
do_image_oci[depends] += "umoci-native:do_populate_sysroot"

add_file () {
	echo prefunc >${IMAGE_ROOTFS}/etc/prefunc
	chown 1234:42 ${IMAGE_ROOTFS}/etc/prefunc
}

IMAGE_CMD:oci:prepend () {
	echo prepended >${IMAGE_ROOTFS}/etc/prepended
	chmod 4755 ${IMAGE_ROOTFS}/etc/prepended
}

IMAGE_CMD:oci:append () {
	if [ -n "$image_name" ]; then
		printf '%s\n' "$PWD" "$image_name" "$image_tag" "$image_bundle_name" "$new_image" >$image_name.said
		tar -tf $image_name.tar | grep -c '^\(./\)\?blobs/sha256/.' >>$image_name.said
		ln -sf $image_name.said ${IMAGE_BASENAME}.said
	fi
}

set_author () {
	umoci config --image ${IMGDEPLOYDIR}/${IMAGE_NAME}${IMAGE_NAME_SUFFIX}-oci:2.0 --author somebody
}

say_so () {
	test -f ${IMGDEPLOYDIR}/${IMAGE_NAME}${IMAGE_NAME_SUFFIX}-oci/index.json
	echo postfunc >${IMGDEPLOYDIR}/${IMAGE_BASENAME}.postfunc
}

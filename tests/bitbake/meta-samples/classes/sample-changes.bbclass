# SPDX-License-Identifier: MIT
# What recipes do to a root file system after its packages are there: add, change, remove.
ROOTFS_POSTPROCESS_COMMAND += "change_rootfs; add_capability;"

change_rootfs () {
	cd ${IMAGE_ROOTFS}
	echo added >etc/added
	chown 1234:42 etc/added
	chmod 0640 etc/added
	install -d -m 2750 -g 42 srv/new/inner
	echo changed >etc/motd
	chmod 0700 etc/skel
	rm etc/issue.net
	rm -r usr/share/misc
	ln -s /run/resolv.conf etc/resolv.conf
	install -d opt
	mknod opt/null c 1 3
	chmod 0666 opt/null
	mknod opt/disk b 8 1
}

python add_capability () {
    import struct

    path = d.expand("${IMAGE_ROOTFS}${base_bindir}/busybox")
    os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
}

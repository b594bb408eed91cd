# SPDX-License-Identifier: MIT
# Nobody builds a development kit of an image here: what it would be made of need not be there.
python () {
    for task in ("do_populate_sdk", "do_populate_sdk_ext", "do_sdk_depends"):
        bb.build.deltask(task, d)
}

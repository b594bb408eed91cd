# SPDX-License-Identifier: MIT
# As BBCLASSEXTEND = "mcextend:NAME" of meta-virtualization: a variant of the recipe for each NAME, which is its MCNAME.
python mcextend_handler() {
    if d.getVar("BBEXTENDCURR") == "mcextend":
        d.setVar("MCNAME", d.getVar("BBEXTENDVARIANT"))
        d.setVar("PN", d.getVar("PN", False) + "-" + d.getVar("BBEXTENDVARIANT"))
}
addhandler mcextend_handler
mcextend_handler[eventmask] = "bb.event.RecipePreFinalise"

# SPDX-License-Identifier: MIT
"""The program that scripts of OpenEmbedded's packages find as `update-alternatives` where no other knows the root.

Its words and its records are those of opkg-utils: a file for each name in /usr/lib/opkg/alternatives, the link in the
first line, in each other one a path and its priority. The last of those with the highest priority is what the link
leads to. In an image that has Debian's own kind of alternatives it is Debian's program. It runs where scripts do, so it
is one of the shell's.
"""

from __future__ import annotations

PROGRAM = r"""#!/bin/sh
# SPDX-License-Identifier: MIT
set -euf
root=${OPKG_OFFLINE_ROOT%/}
records=$root/usr/lib/opkg/alternatives
debians=/usr/bin/update-alternatives

die() {
    printf 'update-alternatives: %s\n' "$1" >&2
    exit "$2"
}

if [ -n "${DPKG_ROOT-}" ] && [ -d "$DPKG_ROOT/etc/alternatives" ] && [ -x "$debians" ]; then
    exec "$debians" "$@"  # which keeps to DPKG_ROOT
fi

inside() {  # the path $1, inside the root
    path=$(printf '%s' "$1" | tr -s /)
    case $root,$path in
        ?*,"$root"/*) path=${path#"$root"} ;;
    esac
}

case "${1-} $#" in
    '--install 5') link=$2 name=$3 priority=$5; inside "$4" ;;
    '--remove 3') link='' name=$2 priority=''; inside "$3" ;;
    *) die 'only --install LINK NAME PATH PRIORITY and --remove NAME PATH are known outside of the image' 2 ;;
esac
case $1,${priority#-} in
    --install,|--install,*[!0-9]*) die "'$priority' is no priority: write an integer" 2 ;;
esac

record=$records/$name
others='' best='' highest=''

consider() {
    if [ -z "$highest" ] || [ "$2" -ge "$highest" ]; then
        best=$1 highest=$2
    fi
}

if [ -f "$record" ]; then
    {
        read -r known
        while read -r each rank; do
            [ "$each" != "$path" ] || continue
            consider "$each" "$rank"
            others="$others$each $rank
"
        done
    } <"$record"
    link=${link:-$known}
    if [ "$link" != "$known" ] && [ -h "$root$known" ]; then
        rm "$root$known"
    fi
elif [ -z "$priority" ]; then
    exit 0
fi

if [ -n "$priority" ]; then
    consider "$path" "$priority"
    others="$others$path $priority
"
elif [ -z "$best" ]; then
    rm "$record"
    [ ! -h "$root$link" ] || rm "$root$link"
    exit 0
fi
mkdir -p "$records"
printf '%s\n%s' "$link" "$others" >"$record.new"
mv "$record.new" "$record"
if [ -e "$root$link" ] && [ ! -h "$root$link" ]; then
    die "$link is to lead to $best, and is there already and no link" 1
fi
mkdir -p "$(dirname "$root$link")"
ln -snf "$best" "$root$link"
"""

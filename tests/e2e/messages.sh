#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What is said of files with names that a terminal would obey: every message is
# lines of plain text, in all programs; results are as they are, but not on a
# terminal.
. "$(dirname "$0")/../lib/e2e.sh"
needs python3 timeout jq qemu-img "$IMGCTL" "$IMGD"

bad=$'a\e]0;owned\a\nimgctl, forged\x7f\xc2\x9b31m.img'
shown='a\x1b]0;owned\x07\x0aimgctl, forged\x7f\xc2\x9b31m.img'

# said N: what the last command said is N lines, of plain text.
said()
{
	local lines
	lines=$(wc -l <err)
	[ "$lines" = "$1" ] || fail "$lines lines: $(cat -v err)"
	if grep -qP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' err; then
		fail "control characters: $(cat -v err)"
	fi
}

# The long warning of a raw image that nobody said to be raw.
truncate -s 1M "$bad"
expect_exit 0 "$IMGCTL" resize "$bad" 2M
said 3
expect_err "WARNING: Image format was not specified for '$shown' and probing"
expect_exit 0 "$IMGD" --run true "$bad"
said 3
expect_err "WARNING: Image format was not specified for '$shown' and probing"
expect_exit 0 "$IMGD" --log-format=json --run true "$bad"
said 1
jq -r .message err | grep -qF "'$shown' and probing" || fail "$(cat -v err)"

# refuse CMD...: it fails with one message.
refuse()
{
	expect_exit 1 timeout 60 "$@"
	said 1
}

# Files that are not there, and values that are wrong.
for cmd in info check map measure 'snapshot -l' bench; do
	# shellcheck disable=SC2086
	refuse "$IMGCTL" $cmd "no/$bad"
	expect_err "no/$shown"
done
refuse "$IMGCTL" convert -O raw "no/$bad" out
refuse "$IMGCTL" convert -O "$bad" "$bad" out
refuse "$IMGCTL" info -f "$bad" "$bad"
refuse "$IMGCTL" info --output="$bad" "$bad"
refuse "$IMGCTL" bench -t "$bad" "$bad"
refuse "$IMGCTL" amend -f "$bad" -o a=b "$bad"
expect_err "Unknown driver '$shown'"
refuse "$IMGCTL" dd if="no/$bad" of=out
refuse "$IMGD" --cache="$bad" "$bad"
expect_err "Invalid cache mode \`$shown'"
refuse "$IMGD" --offset="$bad" "$bad"
refuse "$IMGD" --export="$bad"
refuse "$IMGD" -f raw "no/$bad"

# A name in an image: a result is what it is, but not on a terminal.
qemu-img create -q -f qcow2 -u -b "$bad" -F raw top.qcow2 1M
expect_exit 0 "$IMGCTL" info top.qcow2
grep -q $'\e' out || fail 'a script does not get the name'
python3 - "$IMGCTL" info top.qcow2 >out <<'END'
import os
import pty
import sys
pty.spawn(sys.argv[1:])
END
grep -qF 'a\x1b]0;owned\x07' out || fail "$(cat -v out)"
if grep -q $'\e' out; then
	fail 'a terminal gets what it obeys'
fi
rm "$bad"
refuse "$IMGCTL" map top.qcow2
expect_err "$shown"

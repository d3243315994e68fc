# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Chains of images for both tools; for scripts that have sourced peer.sh.

# layer FILE SIZE BACKING CREATE-OPTIONS IO...: in both folders; SIZE - is that
# of the backing file, BACKING - is none.
layer()
{
	local file=$1 size=$2 backing=$3 options=$4 io=() cmd
	shift 4
	[ "$size" = - ] && size=
	[ "$backing" = - ] && backing=
	for cmd; do
		io+=(-c "$cmd")
	done
	# shellcheck disable=SC2086
	both qemu-img create -q -f "${file##*.}" ${options:+-o "$options"} \
		${backing:+-b "$backing" -F "${backing##*.}"} "$file" $size
	[ $# -eq 0 ] || both qemu-io -f "${file##*.}" "${io[@]}" "$file" 2>io.log
}

# The guest bytes of a file in a folder.
bytes_of()
{
	(cd "$1" && qemu-img convert -O raw "$2" "$TMP/$3")
}

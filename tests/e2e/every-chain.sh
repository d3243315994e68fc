#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All formats: overlays, commit and rebase, and how they are refused where there
# are no backing files.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/every.sh"

# No overlay is made, and there is nothing to commit or to rebase.
no_chain()
{
	local before
	before=$(sha "$image")
	expect_exit 1 "$IMGCTL" create "${secret[@]}" -f "$format" \
		"${options[@]}" -b "$image" -F "$format" top
	[ -s "$TMP/err" ] || fail "no message"
	[ ! -e top ] || fail "top is there"
	expect_exit 1 "$IMGCTL" commit "${with[@]}" "$it"
	[ -s "$TMP/err" ] || fail "no message"
	expect_exit 1 "$IMGCTL" rebase -u -b other -F raw "${with[@]}" "$it"
	[ -s "$TMP/err" ] || fail "no message"
	[ "$(sha "$image")" = "$before" ] || fail "changed"
}

# make_top: top.FORMAT over $below holds base.raw; $top opens it.  The image
# below has no key.
make_top()
{
	local top_options=("${options[@]/disk.data/top.data}")
	[ "$name" != qcow2-meta ] || top_options=()
	below=$image
	if [ "$key" != - ]; then
		below=plain.$format
		ours convert -f raw -O "$format" oracle "$below"
	fi
	ours create -q "${secret[@]}" -f "$format" "${top_options[@]}" \
		-b "$below" -F "$format" "top.$format"
	[ "$backing" = yes ] || peer=-
	top=${opts/$image/top.$format}
	over=("${with[@]}")
	top_it=${it/$image/top.$format}
	patch "$top" oracle ../base.raw
	holds "$top" ../base.raw
}

# told OTHER: what else stands on a base that was committed to sees that, where
# the format has identities.
told()
{
	case $format in
	vmdk | vhdx) ;;
	*) return 0 ;;
	esac
	expect_exit 1 "$IMGCTL" convert -O raw "$1" none
	grep -q "$1: the parent .* is not what it was" "$TMP/err" || fail "$(cat "$TMP/err")"
	expect_exit 1 "$IMGCTL" commit "$1"
	ours rebase -u -b "$below" -F "$format" "$1"
	holds "driver=$format,file.filename=$1" ../base.raw
}

committed()
{
	if [ "$backing" = - ]; then
		no_chain
		return
	fi
	make_top
	ours create -q -f "$format" -b "$below" -F "$format" "other.$format"
	ours commit "${over[@]}" "$top_it"
	holds "driver=$format,file.filename=$below" ../base.raw
	holds "$top" ../base.raw
	told "other.$format"
	used "driver=$format,file.filename=$below"
	used "$top"
}

rebased()
{
	[ "$backing" != - ] || return 0
	make_top
	# The same one under another name.
	cp "$below" "moved.$format"
	ours rebase -u -b "moved.$format" -F "$format" "${over[@]}" "$top_it"
	holds "$top" ../base.raw
	mv "$below" away
	holds "$top" ../base.raw
	mv away "$below"
	# Another one, that holds less.
	truncate -s $disk_len zero
	ours convert -f raw -O "$format" zero "empty.$format"
	ours rebase -b "empty.$format" -F "$format" "${over[@]}" "$top_it"
	holds "$top" ../base.raw
	used "$top"
	# None.
	ours rebase -b "" "${over[@]}" "$top_it"
	rm -f "$below" "moved.$format" "empty.$format"
	holds "$top" ../base.raw
	used "$top"
	ours info --output=json "top.$format"
	[ "$(jq '."backing-filename"' "$TMP/out")" = null ] ||
		fail "$(cat "$TMP/out")"
}

every committed rebased

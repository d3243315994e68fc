#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All formats: converted from, to and into; measured; dd.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
. "$SRC/tests/lib/every.sh"

from()
{
	local need
	ours convert "${with[@]}" -O raw "$it" out.raw
	same oracle out.raw
	ours convert "${with[@]}" -S 0 -O raw "$it" out.raw
	same oracle out.raw
	ours convert "${with[@]}" -O qcow2 "$it" out.qcow2
	expect_exit 0 qemu-img compare -f raw -F qcow2 oracle out.qcow2
	expect_exit 0 qemu-img check -q out.qcow2
	ours measure "${with[@]}" -O qcow2 --output=json "$it"
	need=$(jq .required "$TMP/out")
	[ "$need" -ge "$(stat -c %s out.qcow2)" ] || fail "measure: $need"
	[ "$map" != same ] || both_say measure "${with[@]}" -O qcow2 "$it"
}

dd_from()
{
	ours dd "${with[@]}" bs=64k skip=3 count=20 if="$it" of=part.raw
	[ "$(stat -c %s part.raw)" = 1310720 ]
	cmp -i 196608:0 -n 1310720 oracle part.raw || fail "another part"
	ours dd "${with[@]}" -O qcow2 bs=1M if="$it" of=all.qcow2
	expect_exit 0 qemu-img compare -f raw -F qcow2 oracle all.qcow2
}

# Where no image can be made that is said, and nothing is left behind.
refused()
{
	expect_exit 1 "$IMGCTL" convert -f raw -O "$format" oracle new
	expect_err "Format driver '$format' does not support image creation"
	expect_exit 1 "$IMGCTL" dd -O "$format" if=oracle of=new
	expect_exit 1 "$IMGCTL" create -f "$format" new 1M
	expect_exit 1 "$IMGCTL" measure -O "$format" --size 1M
	[ ! -e new ] || fail "new is there"
}

# to ARG...: convert with these, into the empty folder new.
to()
{
	rm -rf new
	mkdir new
	cd new
	ours convert "${secret[@]}" "$@" -f raw -O "$format" "${options[@]}" \
		../oracle "$image"
	holds "$opts" ../oracle
	whole "$opts"
	cd ..
}

# Lengths of what is in the folder new; of several files the first one only
# names the others.
new_len()
{
	find new -type f -printf '%s\n' | jq -s add
}

converted()
{
	local need
	if [ "$made" = gen ]; then
		refused
		return
	fi
	to
	ours measure "${secret[@]}" --output=json -O "$format" \
		"${options[@]}" -f raw oracle
	need=$(jq .required "$TMP/out")
	case $measure in
	exact) [ "$need" = "$(new_len)" ] ;;
	most) [ "$need" -ge "$(new_len)" ] ;;
	peer)
		[ "$need" -ge "$(du -c -B 1 new | tail -1 | cut -f1)" ]
		both_say measure "${secret[@]}" --output=json -O "$format" \
			"${options[@]}" -f raw oracle
		;;
	esac || fail "measure says $need; $(ls -sl new)"
	to -S 0
	to -m 1 -t writeback
}

# A file that does not end with a sector is filled up.
odd()
{
	[ "$made" = new ] || return 0
	head -c $((disk_len - 77)) ../disk.raw >odd.raw
	cp odd.raw want
	truncate -s $disk_len want
	rm -rf new
	mkdir new
	cd new
	ours convert "${secret[@]}" -f raw -O "$format" "${options[@]}" \
		../odd.raw "$image"
	holds "$opts" ../want
}

# -n: into one that is there, of the same size, and holds something else.
into()
{
	[ "$made" != gen ] || return 0
	ours convert "${secret[@]}" -n -f raw --target-image-opts \
		../base.raw "$opts"
	holds "$opts" ../base.raw
	used "$opts"
}

dd_to()
{
	[ "$made" != gen ] || return 0
	[ "$key" = - ] || return 0 # dd takes no options for the output
	ours dd -f raw -O "$format" bs=1M if=oracle of="new.$format"
	ours compare -f raw -F "$format" oracle "new.$format"
}

every from dd_from converted odd into dd_to

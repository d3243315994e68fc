#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The options that create has for each format: the peer's list, and a few more;
# each is in the bytes of the image that it is in the peer's.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

# ---- lists --------------------------------------------------------------------

# Options that only we have, at least where no file is named.
own='(raw preallocation)|(qcow2 compression_level)|(vpc backing_f.*)'
own="$own|(vhdx backing_f.*)|(luks detached-header)|(luks pbkdf)"
own="$own|(luks preallocation)|(luks version)"
# listed FORMAT ARG...: both tools print the same list but for those.
listed()
{
	local f=$1 dir
	shift
	run_in ours "$OURS" "$@"
	run_in theirs "$THEIRS" "$@"
	for dir in ours theirs; do
		sed -i -E -e "s/^  ([a-z])/  $f \1/" -e "/^  ($own)=/d" $dir.out
	done
	same_answers "$@"
}
for f in raw qcow2 qcow qed vdi vmdk vpc vhdx parallels luks; do
	listed $f create -f $f -o help
	listed $f create -f $f -o help name
	listed $f convert -O $f -o help
	listed $f amend -f $f -o help
	expect_exit 0 "$IMGCTL" measure -O $f -o help
	expect_out "Supported $f options:"
done
for f in bochs cloop dmg bogus; do
	agree create -f $f -o help
	agree amend -f $f -o help
done
expect_exit 0 "$IMGCTL" create -f vhd -o help
expect_out '  force_size='

# ---- bytes --------------------------------------------------------------------

# made FORMAT OFFSET LEN OPTIONS: the same bytes there.
made()
{
	agree create -f "$1" ${4:+-o "$4"} "new.$1" 10M
	cmp -n "$3" -i "$2" "ours/new.$1" "theirs/new.$1" || fail "create -f $*"
}
made qcow 0 48 ''
for o in '' cluster_size={4k,1M} table_size={1,2,16} \
	cluster_size=4k,table_size=8; do
	made qed 0 64 "$o"
done
for o in '' cluster_size={512,32256,64k,4M}; do
	made parallels 0 64 "$o"
done
for o in '' static={on,off}; do
	made vdi 64 328 "$o"
done
# The version, where the log is, and how long: of the header that counts.
log()
{
	python3 - "$1" <<'END'
import struct, sys
b = open(sys.argv[1], "rb").read(0x30000)
heads = [struct.unpack_from("<4sIQ48sHHIQ", b, at) for at in (0x10000, 0x20000)]
print(max(heads, key=lambda h: h[2])[4:])
END
}
for o in '' log_size={1M,5M,1500000,2G}; do
	agree create -f vhdx ${o:+-o $o} new.vhdx 10M
	[ "$(log ours/new.vhdx)" = "$(log theirs/new.vhdx)" ] ||
		fail "$o: $(log ours/new.vhdx), theirs $(log theirs/new.vhdx)"
done
# What the BAT says of each block: not there, zeroes, all there.
states()
{
	python3 - "$1" <<'END'
import struct, sys
b = open(sys.argv[1], "rb").read()
guid = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
at = struct.unpack_from("<Q", b, b.index(guid, 0x30000) + 16)[0]
print([entry & 7 for entry in struct.unpack_from("<4Q", b, at)])
END
}
for zero in on off; do
	agree create -f vhdx -o block_size=1M,block_state_zero=$zero new.vhdx 4M
	[ "$(states ours/new.vhdx)" = "$(states theirs/new.vhdx)" ] ||
		fail "$zero: $(states ours/new.vhdx)"
	# Of a fixed one each block is there, whatever QEMU calls it.
	agree create -f vhdx -o $(
		)block_size=1M,subformat=fixed,block_state_zero=$zero new.vhdx 4M
	[ "$(states ours/new.vhdx)" = '[6, 6, 6, 6]' ] ||
		fail "$(states ours/new.vhdx)"
done
# Values that are none: in the same words.
for o in qcow:encryption=maybe qed:cluster_size={0,3,128M,x} \
	qed:table_size={0,5,x} vdi:static={2,maybe} vmdk:compat6=2 \
	vmdk:zeroed_grain=x vpc:force_size=maybe vpc:subformat={,x} \
	vhdx:log_size={x,0,5G} vhdx:block_size={x,3M,512M} \
	vhdx:block_state_zero=x parallels:cluster_size={0,x,-1} \
	qcow2:encrypt.format=x; do
	agree create -f "${o%%:*}" -o "${o#*:}" bad.img 10M
done

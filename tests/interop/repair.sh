#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# check -r of Parallels, VDI, VHD and VHDX: what docs/formats.md says that it
# does, and what it must leave as it is.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq qemu-img qemu-io python3 "$IMGCTL"

random_file disk 6000128
truncate -s 20000256 disk

# edit FILE CODE: a program changes its bytes b.
edit()
{
	PYTHONPATH=$SRC/tests/lib python3 - "$@" <<'END'
import struct, sys
with open(sys.argv[1], "rb") as f:
    b = bytearray(f.read())
def put(layout, at, value):
    struct.pack_into(layout, b, at, value)
def get(layout, at):
    return struct.unpack_from(layout, b, at)[0]
exec(sys.argv[2])
with open(sys.argv[1], "wb") as f:
    f.write(b)
END
}

# number FILE AT LEN: the bytes there.
number()
{
	od -An -v -tx1 -j "$2" -N "$3" "$1" | tr -d ' \n'
}

# damaged IMAGE CODE: a copy, bad, that is damaged.
damaged()
{
	cp "$1" bad
	edit bad "$2"
	cp bad before
}

# check EXIT ARG...
check()
{
	local code=$1
	shift
	expect_exit "$code" "$IMGCTL" check "$@" bad
}

# Entry 1 means nothing, or what entry 0 does: a repair of leaks leaves it.
# leaves AT LEN IMAGE CODE
leaves()
{
	damaged "$3" "$4"
	check 2 -r leaks
	[ "$(number bad "$1" "$2")" = "$(number before "$1" "$2")" ] ||
		fail "$3: an entry was changed"
	check 2
}

# ---- Parallels --------------------------------------------------------------

"$IMGCTL" convert -f raw -O parallels disk par
leaves 68 4 par 'put("<I", 68, 5000000)'
leaves 68 4 par 'put("<I", 68, get("<I", 64)); b += bytes(5 << 20)'
[ "$(stat -c %s bad)" = "$(stat -c %s par)" ] || fail 'the leak is there'
leaves 44 4 par 'put("<I", 44, 0x746f6e59)' # in use
# What nobody has between others is taken first.
damaged par 'put("<I", 68, 0)'
"$IMGCTL" bench -q -f parallels -w -c 1 -s 64k -o 19M --pattern=5 bad
[ "$(stat -c %s bad)" = "$(stat -c %s par)" ] || fail 'the file grew'
[ "$(number bad $((64 + 4 * 19)) 4)" = "$(number par 68 4)" ] ||
	fail 'not in the free cluster'
check 0
# reads_new FORMAT: what was written there, and nothing of what was there.
reads_new()
{
	expect_exit 0 qemu-io -f "$1" -c 'read -P 5 19M 64k' \
		-c 'read -P 0 19988480 11776' -c 'read -P 0 18M 1M' bad
}
reads_new parallels

# ---- VDI --------------------------------------------------------------------

"$IMGCTL" convert -f raw -O vdi disk vdi
for value in 5000000 'get("<I", get("<I", 340))'; do
	leaves $((512 + 4)) 4 vdi "put('<I', get('<I', 340) + 4, $value)"
done
# Blocks of the file that no entry has, as a crash leaves them.
damaged vdi 'put("<I", get("<I", 340) + 4, 0xffffffff)'
check 3
"$IMGCTL" bench -q -f vdi -w -c 1 -s 64k -o 19M --pattern=5 bad
[ "$(stat -c %s bad)" = "$(stat -c %s vdi)" ] || fail 'the file grew'
check 0
expect_exit 0 qemu-img check bad
reads_new vdi

# ---- VHD --------------------------------------------------------------------

"$IMGCTL" convert -f raw -O vpc -o force_size=on disk vpc
leaves 1536 8 vpc 'put(">I", 1536, 0x7fffffff)'
leaves 1536 8 vpc 'put(">I", 1540, get(">I", 1536))'
damaged vpc 'put(">I", 1536, 0xffffffff)'
check 3
"$IMGCTL" bench -q -f vpc -w -c 1 -s 64k -o 19M --pattern=5 bad
[ "$(stat -c %s bad)" = "$(stat -c %s vpc)" ] || fail 'the file grew'
check 0
reads_new vpc
# A block that lies on a header gets a copy of what is there.
damaged vpc 'put(">I", 1536, 1)'
check 3 -r all
expect_err 'used twice'
check 3
[ "$(number bad 512 64)" = "$(number vpc 512 64)" ] || fail 'header'
expect_exit 0 qemu-img info -f vpc bad
[ "$(number bad 1536 4)" != 00000001 ] || fail 'the entry is as it was'
expect_exit 0 "$IMGCTL" compare -f vpc -F vpc before bad

# ---- VHDX -------------------------------------------------------------------

# The BAT of our images is at 3 MiB.
bat=$((3 << 20))
"$IMGCTL" convert -f raw -O vhdx -o block_size=1M disk vhdx
for code in 5 "get('<Q', $bat)"; do
	leaves $((bat + 8)) 8 vhdx "put('<Q', ${bat} + 8, $code)"
done
# An entry that means nothing says zeroes then.
damaged vhdx "put('<Q', $bat + 8, 5)"
check 0 -r all
[ "$(number bad $((bat + 8)) 8)" = 0200000000000000 ] ||
	fail "entry: $(number bad $((bat + 8)) 8)"
expect_exit 0 qemu-io -r -f vhdx -c 'read -P 0 1M 1M' bad
# A file that was cut is as long as it has to be.
damaged vhdx 'del b[-(1 << 19):]'
check 2
check 0 -r all
[ "$(stat -c %s bad)" = "$(stat -c %s vhdx)" ] || fail 'the file is short'
expect_exit 0 qemu-img check bad
# Without a parent a block is not partly there.
damaged vhdx "b[$bat] = 7"
check 0 -r all
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx disk bad

# In an overlay zeroes hide the parent.  Without a bitmap a block is all there;
# with one, what it has not is the parent's.
"$IMGCTL" create -q -f vhdx -b vhdx -F vhdx over
"$IMGCTL" bench -q -f vhdx -w -c 1 -s 64k --pattern=5 over
expect_exit 0 "$IMGCTL" info --output=json over
bitmap=$((bat + 8 * (2 ** 32 / $(jq '."cluster-size"' out))))
[ "$(number over $bat 1)$(number over $bitmap 1)" = 0706 ] ||
	fail "$(number over $bat 16) $(number over $bitmap 8)"

# reads CODE: what bad is then, in got; how the disk goes on.
reads()
{
	damaged over "$1"
	check 2
	check 0 -r all
	"$IMGCTL" convert -O raw bad got
}
reads "put('<Q', $bat, 4)"
expect_exit 0 qemu-io -r -f raw -c 'read -P 0 0 6000128' got
reads "put('<Q', $bitmap, 0)"
expect_exit 0 qemu-io -r -f raw -c 'read -P 5 0 64k' \
	-c 'read -P 0 64k 5900k' got

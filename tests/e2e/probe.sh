#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What an image is taken for when nobody says it: each format by its head, or by
# its last sector, and never one of two that it could be.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq python3 bximage create_compressed_fs mke2fs "$IMGCTL" "$IMGD"

random_file disk 1000448
secret=(--object "secret,id=s,data=hush")
for f in qcow2 qcow qed vdi vmdk vpc vhdx parallels luks; do
	o=()
	[ $f != luks ] || o=("${secret[@]}" -o "key-secret=s,iter-time=1")
	"$IMGCTL" convert -f raw -O $f "${o[@]}" disk head.$f
done
"$IMGCTL" convert -f raw -O vmdk -o subformat=monolithicFlat disk text.vmdk
mv text.vmdk head.descriptor
bximage -q -func=create -hd=10M -imgmode=growing head.bochs >/dev/null
create_compressed_fs -q -B 65536 disk head.cloop >/dev/null 2>&1
python3 "$SRC/tests/lib/udif.py" tail.dmg disk
python3 "$SRC/tests/lib/udif.py" head.dmg disk --trailer-first
"$IMGCTL" convert -f raw -O vpc -o subformat=fixed,force_size=on disk tail.vpc
mke2fs -q -t ext4 head.raw 1M >/dev/null 2>&1
cp disk head.random

# with_tail FILE TAIL: a file that begins as the one and ends as a dmg or a VHD;
# "cut": as a VHD that has lost a sector.
with_tail()
{
	python3 - "$@" <<'END'
import struct, sys
head, kind = sys.argv[1:]
b = open(head, "rb").read()
b = b.ljust(-(-len(b) // 512) * 512, b"\0")
foot = bytearray(open("tail.dmg" if kind == "dmg" else "tail.vpc", "rb").read()
                 [-512:])
if kind != "dmg":
    n = len(b) + 512 * (kind == "cut")
    struct.pack_into(">QQ", foot, 40, n, n)
    foot[64:68] = bytes(4)
    struct.pack_into(">I", foot, 64, ~sum(foot) & 0xffffffff)
open("both", "wb").write(b + foot)
END
}

# taken_for FORMAT FILE
taken_for()
{
	expect_exit 0 "$IMGCTL" info --output=json "$2"
	[ "$(jq -r .format out)" = "$1" ] || fail "$2: $(jq -r .format out)"
}

# ambiguous FORMAT FORMAT: nothing opens "both", until it is said what it is.
ambiguous()
{
	local cmd last rc
	for cmd in info check map "compare both" "convert -O raw" "resize"; do
		last='' rc=1
		case $cmd in
		compare*) rc=2 ;;
		convert*) last=out.raw ;;
		resize) last=+1M ;;
		esac
		# shellcheck disable=SC2086
		expect_exit $rc "$IMGCTL" $cmd both $last
		expect_err "both: could be a $1 image or a $2 image"
		expect_err "Give the format of the image."
	done
	expect_exit 1 "$IMGD" both --run true
	expect_err "both: could be a $1 image or a $2 image"
	expect_exit 1 "$IMGCTL" info --image-opts file.filename=both
	expect_err "could be"
	[ ! -e out.raw ]
}

# Of the user's data nothing says that it is raw: it may be in a VHD; and what
# ends as a dmg, and has nothing of one, is refused.
raw_with()
{
	case $1 in
	vpc) taken_for vpc both ;;
	cut) taken_for raw both ;;
	dmg)
		expect_exit 1 "$IMGCTL" info both
		expect_err 'both: dmg'
		;;
	esac
	expect_exit 0 "$IMGCTL" compare -f raw -F raw both both
}

for head in head.*; do
	f=${head#head.}
	[ "$f" != descriptor ] || f=vmdk
	taken_for "${f/random/raw}" "$head"
	for tail in vpc dmg cut; do
		[ "$f:$tail" != dmg:dmg ] || continue
		with_tail "$head" $tail
		case $f:$tail in
		raw:* | random:*) raw_with $tail ;;
		*:cut | vpc:vpc) taken_for "$f" both ;;
		*)
			# In the order of the alphabet.
			if [[ $f < $tail ]]; then
				ambiguous "$f" $tail
			else
				ambiguous $tail "$f"
			fi
			expect_exit 0 "$IMGCTL" info -f "$f" both
			;;
		esac
		[ $tail != vpc ] || expect_exit 0 "$IMGCTL" info -f vpc both
	done
done

# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What holds for each image of a format that is only read.

# reads_as FORMAT IMAGE DISK: probed as that, it reads as the file DISK by
# every way there is.
reads_as()
{
	local format=$1 image=$2 disk=$3
	[ "$("$IMGCTL" info --output=json "$image" | jq -r .format)" = \
		"$format" ] || fail "$image is not taken for $format"
	expect_exit 0 "$IMGCTL" check "$image"
	expect_exit 0 "$IMGCTL" convert -O raw "$image" ours.raw
	same "$disk" ours.raw
	expect_exit 0 "$IMGCTL" convert -O qcow2 "$image" ours.qcow2
	expect_exit 0 qemu-img compare -F raw ours.qcow2 "$disk"
	expect_exit 0 "$IMGCTL" compare -f "$format" -F raw "$image" "$disk"
	nbdkit -r -U - "$PLUGIN" "$image" --run 'nbdcopy "$uri" nbd.raw'
	same "$disk" nbd.raw
	map_is_true "$image" "$disk"
	rm -f ours.raw ours.qcow2 nbd.raw
}

# What the map says is zero reads as zeroes; what is data at an offset of the
# file is there; each byte is in the map once.
map_is_true()
{
	"$IMGCTL" map --output=json "$1" >map.json
	python3 - map.json "$1" "$2" <<'END'
import json, sys
extents = json.load(open(sys.argv[1]))
image, disk = (open(name, "rb").read() for name in sys.argv[2:])
at = 0
for x in extents:
    start, n = x["start"], x["length"]
    assert start == at and n > 0, x
    at += n
    want = disk[start:at]
    if x["zero"]:
        assert not any(want), x
    elif "offset" in x:
        assert image[x["offset"]:x["offset"] + n] == want, x
assert at == len(disk), at
END
}

# refuses_writes FORMAT IMAGE: neither created nor written; nor has it snapshots.
refuses_writes()
{
	local format=$1 image=$2 before
	before=$(sha "$image")
	expect_exit 1 "$IMGCTL" create -f "$format" new 1M
	expect_err "does not support image creation"
	expect_exit 1 "$IMGCTL" convert -O "$format" "$image" new
	expect_err "does not support image creation"
	[ ! -e new ] || fail "new was made"
	expect_exit 1 "$IMGCTL" resize -f "$format" "$image" +1M
	expect_err "Image is read-only"
	expect_exit 1 "$IMGCTL" bench -w -c 1 -f "$format" "$image"
	expect_err "Image is read-only"
	expect_exit 1 "$IMGD" -f "$format" "$image"
	expect_err "Image is read-only"
	expect_exit 1 "$IMGCTL" convert -l one -O raw "$image" new
	expect_err "$format images have no internal snapshots"
	[ "$before" = "$(sha "$image")" ] || fail "$image was changed"
}

# poke FILE OFFSET HEX: bytes are changed.
poke()
{
	python3 - "$@" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2], 0))
    f.write(bytes.fromhex(sys.argv[3]))
END
}

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All formats: what info, check, map and compare say of an image, and
# that it is found out what it is.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/every.sh"

info()
{
	ours info "${with[@]}" "$it"
	expect_out "file format: $format"
	ours info --output=json "${with[@]}" "$it"
	jq -e --arg f "$format" --argjson n "$(stat -L -c %s oracle)" \
		'.format == $f and ."virtual-size" == $n' "$TMP/out" >/dev/null ||
		fail "$(cat "$TMP/out")"
	# What is printed needs no key.
	[ "$peer" = - ] || {
		both_say info -f "$format" "$image"
		both_say info --output=json -f "$format" "$image"
	}
}

checked()
{
	expect_exit "$check" "$IMGCTL" check "${with[@]}" "$it"
	[ "$theirs" = - ] ||
		expect_exit "$theirs" qemu-img check "${with[@]}" "$it"
}

# What a map says of where things are, neighbours merged.
stored()
{
	python3 - "$1" <<'END'
import json, sys
last = None
for x in json.load(open(sys.argv[1])):
    kind = x["depth"], x["present"], x["data"], x["data"] or x["zero"], \
        "offset" in x and x["offset"] - x["start"]
    if kind != last:
        print(x["start"], kind)
    last = kind
END
}

# The map is in one piece, and true; qemu-img's is the same.
mapped()
{
	local opened=("${with[@]}" "$it")
	ours map --output=json "${opened[@]}"
	python3 - "$TMP/out" oracle <<'END'
import json, sys
extents = json.load(open(sys.argv[1]))
disk = open(sys.argv[2], "rb").read()
at = 0
for x in extents:
    assert x["start"] == at and x["length"] > 0, x
    at += x["length"]
    assert x["data"] or x["zero"], x
    assert not x["zero"] or not any(disk[x["start"]:at]), x
assert at == len(disk), at
END
	case $map in
	same)
		both_say map --output=json "${opened[@]}"
		both_say map "${opened[@]}"
		;;
	alike)
		stored "$TMP/out" >ours.map
		qemu-img map --output=json "${opened[@]}" >theirs.json
		stored theirs.json | diff - ours.map || fail "another map"
		;;
	esac
}

# One byte that differs is found: the first, the last, one in a hole.
compared()
{
	local at size
	size=$(stat -L -c %s oracle)
	holds "$opts" oracle
	for at in 0 $((size - 1)) 5000001 3000; do
		cp -L --sparse=always oracle other
		printf '\x5a' | dd of=other bs=1 seek="$at" conv=notrunc \
			status=none
		expect_exit 1 "$IMGCTL" compare "${secret[@]}" --image-opts \
			"$opts" driver=raw,file.filename=other
		expect_out "Content mismatch at offset $((at / 512 * 512))!"
	done
}

# Options that every image takes reach this one: as --image-opts and as json:,
# with the backing file that is given, and what nobody knows is refused.
opened()
{
	local more=,read-only=on,auto-read-only=on,cache.direct=off
	more+=,cache.no-flush=on,discard=unmap,detect-zeroes=unmap
	more+=,force-share=on,node-name=top,file.driver=file,file.locking=off
	more+=,file.aio=threads,file.aio-max-batch=8,file.force-share=on
	[ "$made" != over ] ||
		more+=,backing.driver=$format,backing.file.filename=base.$format
	holds "$opts$more" oracle
	ours compare "${secret[@]}" --image-opts \
		"driver=raw,file.filename=oracle" "$opts$more"
	ours map --output=json "${secret[@]}" "$(as_json "$opts$more")"
	ours convert "${secret[@]}" "$(as_json "$opts")" out.raw
	same oracle out.raw
	expect_exit 1 "$IMGCTL" map "${secret[@]}" --image-opts "$opts,bogus=1"
	expect_err "Block format '$format' does not support the option 'bogus'"
}

probe()
{
	ours info --output=json "$image"
	[ "$(jq -r .format "$TMP/out")" = "$format" ] || fail "$(cat "$TMP/out")"
}

# Where one format is known by the end of the file, and this one by its start,
# nobody but the user can tell which of them it is.
ambiguous()
{
	local head=$image tail=fixed
	case $format in
	raw | vpc) return ;; # raw has no start, and vpc is that other one
	dmg)
		ours create -q -f qcow2 head.qcow2 1M
		head=head.qcow2 tail=$image
		;;
	esac
	ours create -q -f vpc -o subformat=fixed fixed 1M
	ours info "$tail"
	dd if="$head" of="$tail" bs=4096 count=1 conv=notrunc status=none
	expect_exit 1 "$IMGCTL" info "$tail"
	expect_err "could be a "
	expect_err "$format image"
	expect_err "Give the format of the image."
	ours info -f raw "$tail"
}

every info checked mapped compared opened probe ambiguous

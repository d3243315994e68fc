#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All formats: resized, written by bench and by clients, and written in snapshot
# mode, which changes nothing.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/every.sh"

# resize_to SIZE ARG...
resize_to()
{
	local size=$1 o=("${with[@]}")
	shift
	ours resize -q "$@" "${o[@]}" "$it" "$size"
	ours info --output=json "$image"
	[ "$(jq '."virtual-size"' "$TMP/out")" = "$size" ] ||
		fail "$(cat "$TMP/out")"
}

# refused CMD...: with a message, and the image is as it was.
refused()
{
	local before
	before=$(sha "$image")
	expect_exit 1 "$@"
	[ -s "$TMP/err" ] || fail "no message: $*"
	[ "$(sha "$image")" = "$before" ] || fail "changed: $*"
}

resized()
{
	local more=$((disk_len + (3 << 20) + 512)) less=$(((2 << 20) + 66048))
	if [ "$resize" = - ]; then
		refused "$IMGCTL" resize "${with[@]}" "$it" +1M
		return
	fi
	refused "$IMGCTL" resize "${with[@]}" "$it" 1M
	expect_err "Use the --shrink option"
	cp -L oracle want
	truncate -s $more want
	resize_to $more
	[ "$resize" = noise ] || holds "$opts" want
	whole "$opts"
	truncate -s $less want
	resize_to $less --shrink
	holds "$opts" want
	used "$opts"
	# What was cut off is gone.
	truncate -s $disk_len want
	resize_to $disk_len
	[ "$resize" = noise ] || holds "$opts" want
	used "$opts"
}

benched()
{
	ours bench -q -c 50 -s 65536 -S 190000 "${with[@]}" "$it"
	if [ "$made" = gen ]; then
		refused "$IMGCTL" bench -w -c 1 "${with[@]}" "$it"
		expect_err "read-only"
		return
	fi
	ours bench -q -w -c 40 -d 4 -s 5120 -S 200192 -o 512 --pattern=171 \
		"${with[@]}" "$it"
	cp -L oracle want
	python3 - <<'END'
with open("want", "r+b") as f:
    for i in range(40):
        f.seek(512 + i * 200192)
        f.write(b"\xab" * 5120)
END
	holds "$opts" want
	whole "$opts"
}

# write_wildly: through the server at $URI; `want` is what it must hold then.
write_wildly()
{
	cp -L oracle want
	nbdsh -u "$URI" -c - <<'END'
import random
rnd = random.Random(9)
with open("want", "r+b") as f:
    size = h.get_size()
    for i in range(60):
        at = rnd.randrange(size)
        n = min(size - at, rnd.choice((1, 511, 513, 65537, 200001)))
        data = rnd.randbytes(n) if i % 3 else bytes(n)
        if i % 6:
            h.pwrite(data, at)
        else:
            h.zero(n, at, nbd.CMD_FLAG_NO_HOLE if i % 4 else 0)
        f.seek(at)
        f.write(data)
        if i % 20 == 19:
            h.flush()
want = open("want", "rb").read()
for at in range(0, size, 1 << 20):
    assert h.pread(min(size - at, 1 << 20), at) == want[at:at + (1 << 20)], at
END
}

written()
{
	if [ "$made" = gen ]; then
		refused "$IMGD" "${secret[@]}" --image-opts "$opts"
		expect_err "read-only"
		return
	fi
	start_imgd --discard=unmap "${secret[@]}" --image-opts "$opts"
	write_wildly
	stop_server
	holds "$opts" want
	used "$opts"
}

snapshot_mode()
{
	local before
	before=$(sha256sum -- *)
	start_imgd -s "${secret[@]}" --image-opts "$opts"
	write_wildly
	stop_server
	rm want
	[ "$(sha256sum -- *)" = "$before" ] || fail "a file was changed"
}

every resized benched written snapshot_mode

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All formats: what clients of imgd and of the nbdkit plugin read, and see
# of where it is stored.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/every.sh"
needs nbdinfo nbdcopy nbdkit "$PLUGIN"

# What NBD clients are told is what map says: base:allocation, as lines of
# offset, length, type.
allocation()
{
	jq -c '.[] | [.start, .length,
		(if .data then 0 else 1 end) + (if .zero then 2 else 0 end)]' \
		"$1" | jq -cs 'reduce .[] as $x ([];
		if length > 0 and .[-1][2] == $x[2] then .[-1][1] += $x[1]
		else . + [$x] end)'
}

status_is_map()
{
	nbdinfo --map --json "$URI" |
		jq -c '[.[] | [.offset, .length, .type]]' >base.json
	allocation "$TMP/map.json" | diff - base.json || fail "base:allocation"
}

# Reads at odd offsets, through the end, and all of it at once.
reads_oracle()
{
	nbdcopy --connections=2 "$URI" served.raw
	same oracle served.raw
	nbdsh -u "$URI" -c - <<'END'
import random
disk = open("oracle", "rb").read()
assert h.get_size() == len(disk)
rnd = random.Random(5)
spots = [(0, 1), (len(disk) - 1, 1), (len(disk) - 777, 777), (1, len(disk) - 1)]
for i in range(40):
    at = rnd.randrange(len(disk))
    spots.append((at, min(rnd.choice((1, 511, 4097, 200001)), len(disk) - at)))
for at, n in spots:
    assert h.pread(n, at) == disk[at:at + n], (at, n)
END
}

served()
{
	"$IMGCTL" map --output=json "${with[@]}" "$it" >"$TMP/map.json"
	start_imgd -r -e 0 "${secret[@]}" --image-opts "$opts"
	status_is_map
	python3 "$SRC/tests/e2e/nbd-map.py" "$SOCK" | jq -c '.[]' >imgd.json
	jq -c '.[]' "$TMP/map.json" | diff - imgd.json || fail "imgd:map"
	reads_oracle
	stop_server
}

plugin()
{
	"$IMGCTL" map --output=json "${with[@]}" "$it" >"$TMP/map.json"
	start_nbdkit -r "$PLUGIN" object="${secret[1]}" \
		"$(as_json "${opts/filename=/filename=$PWD/}")"
	status_is_map
	reads_oracle
	stop_server
}

every served plugin

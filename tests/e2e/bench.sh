#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bench: what it prints, what it refuses, and that it writes what it says.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io jq

qemu-img create -q -f qcow2 -o preallocation=metadata a.qcow2 16M
for o in "-c 100" "-c 7 -d 3 -s 3000 -S 512 -o 1M" \
	"-c 64 -w --flush-interval 64" "-c 200 -w -s 64k -d 4 -t writeback"; do
	# shellcheck disable=SC2086
	"$IMGCTL" bench $o a.qcow2 | sed 's/in .* seconds/in T/' >ours
	# shellcheck disable=SC2086
	qemu-img bench $o a.qcow2 | sed 's/in .* seconds/in T/' >theirs
	same ours theirs
done

expect_exit 0 "$IMGCTL" bench -q -c 256 -w --pattern 77 -s 64k a.qcow2
[ ! -s out ] || fail "-q printed something"
expect_exit 0 qemu-io -r -c 'read -P 77 0 16M' a.qcow2
expect_exit 0 qemu-img check -q a.qcow2
expect_exit 0 "$IMGCTL" bench --output json --random --write-mix 40 -c 500 a.qcow2
[ "$(jq '.read.requests + .write.requests' out)" = 500 ] || fail "requests lost"
expect_exit 0 jq -e '.read["latency-ns"] |
	.min <= .p50 and .p50 <= .p90 and .p90 <= .p99 and .p99 <= .max' out
expect_exit 0 "$IMGCTL" bench --output json --connections 3 -c 500 a.qcow2
[ "$(jq '.read.requests' out)" = 500 ] || fail "requests lost"
[ "$(jq .connections out)" = 3 ] || fail "not by 3 clients"
# Together they write every place once.
expect_exit 0 "$IMGCTL" bench -q -c 250 -w --pattern 78 -s 64k -d 3 \
	--connections 4 a.qcow2
expect_exit 0 qemu-io -r -c 'read -P 78 0 16000k' a.qcow2
expect_exit 0 qemu-img check -q a.qcow2
expect_exit 0 "$IMGCTL" bench --latency -c 100 a.qcow2
expect_out "read: "

# An encrypted image.
secret=(--object "secret,id=s,data=hush")
expect_exit 0 "$IMGCTL" create -q "${secret[@]}" -f luks \
	-o key-secret=s,iter-time=1 a.luks 1M
expect_exit 0 "$IMGCTL" bench -q "${secret[@]}" -w --pattern 5 -c 16 -s 64k \
	--image-opts driver=luks,key-secret=s,file.filename=a.luks
expect_exit 0 qemu-io "${secret[@]}" -c 'read -P 5 0 1M' \
	--image-opts driver=luks,key-secret=s,file.filename=a.luks
expect_exit 1 "$IMGCTL" bench -c 1 \
	--image-opts driver=luks,key-secret=s,file.filename=a.luks
expect_err "No secret with id 's'"

while IFS='|' read -r options message; do
	# shellcheck disable=SC2086
	expect_exit 1 "$IMGCTL" bench $options a.qcow2
	expect_err "$message"
done <<'EOF'
--flush-interval 100|--flush-interval is only available in write tests
-w --flush-interval 10|Flush interval can't be smaller than depth
-d 0|Invalid queue depth specified. Must be between 1 and 65536.
-w --pattern 256|Invalid pattern byte specified
-s 32M|requests of 33554432 bytes on an image of 16777216
--connections 17|Invalid connections specified. Must be between 1 and 16
-i bogus|Invalid aio option: bogus
-w -U|force-share=on can only be used with read-only images
EOF

expect_exit 0 "$IMGCTL" bench -n -c 10 --force-share a.qcow2
expect_exit 0 "$IMGCTL" bench -c 10 --image-opts driver=qcow2,file.filename=a.qcow2
expect_exit 0 "$IMGCTL" bench -w -d 4 -c 40 --flush-interval 8 --no-drain a.qcow2

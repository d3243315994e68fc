#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bench: what it prints, what it refuses, and that it writes what it says.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io jq nbdkit python3

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

# ---- what is sent -----------------------------------------------------------

cat >requests.py <<'END'
import re
# How many were under way at once, on how many connections, and what was asked.
running, most, where, asked = set(), 0, set(), []
for line in open("log"):
    m = re.search(r"connection=(\d+) (\.\.\.)?(Read|Write|Flush) id=(\d+)(.*)",
                  line)
    if not m:
        continue
    conn, ended, what, number, rest = m.groups()
    if ended:
        running.discard((conn, number))
        continue
    where.add(conn)
    running.add((conn, number))
    most = max(most, len(running))
    at = re.search(r"offset=(\S+) count=(\S+)", rest)
    asked.append(what + (" %d %d" % tuple(int(x, 0) for x in at.groups())
                         if at else ""))
print(most, len(where))
print(*sorted(asked), sep="\n")
END

# sent TOOL NAME OPTION...: to a server; what was asked in NAME, how many at
# once and on how many connections in NAME.most.
sent()
{
	local tool=$1 name=$2
	shift 2
	rm -f log
	nbdkit -U - --filter=log --filter=delay memory 16M logfile=log \
		rdelay="${delay:-10}ms" wdelay="${delay:-10}ms" \
		--run "timeout 60 $tool bench -f raw $* \"\$uri\"" >out ||
		fail "$tool bench $*: $(cat out)"
	python3 requests.py >"$name"
	head -n 1 "$name" >"$name.most"
	sed -i 1d "$name"
}

# at_once "N CONNECTIONS" TOOL NAME OPTION...: sent, so many at once.  Where the
# first one ends before the last one begins, each must take longer.
at_once()
{
	local want=$1 delay got
	shift
	for delay in 100 400 1600; do
		sent "$@"
		got=$(cat "$2.most")
		[ "${got% *}" -lt "${want% *}" ] || break
	done
	[ "$got" = "$want" ] || fail "$*: $got, not $want"
}

# The same requests as the peer's, so many at once.
while read -r n options; do
	# shellcheck disable=SC2086
	at_once "$n 1" "$IMGCTL" ours $options </dev/null
	# shellcheck disable=SC2086
	at_once "$n 1" qemu-img theirs $options </dev/null
	sed -i /Flush/d ours theirs
	same theirs ours
done <<'END'
5 -c 20 -d 5
7 -c 7 -d 7 -s 3000 -S 700k -o 15M
9 -c 9 -s 1000 -S 0 -o 77
2 -c 6 -s 64k -S 16M -o 100 -d 2
3 -w -c 12 -d 3 -s 512 -S 5M -o 14M --no-drain
END
# A flush after every so many; two at the end.
sent "$IMGCTL" ours -w -c 24 -d 4 --flush-interval 6
[ "$(grep -c Flush ours)" = 6 ] || fail "$(cat ours)"
sent "$IMGCTL" ours -w -c 24 -d 4
[ "$(grep -c Flush ours)" = 2 ] || fail "$(cat ours)"
# No write stays in a cache.
sent "$IMGCTL" ours -w -c 5 -d 1 -t writethrough
[ "$(grep -c Flush ours)" -ge 5 ] || fail "$(cat ours)"
# Clients, each with so many at once and a connection of its own.
at_once "6 3" "$IMGCTL" ours -c 60 --connections 3 -d 2
# Random places, each of a whole request, the same in every run.
sent "$IMGCTL" ours -c 40 -s 64k --random
sent "$IMGCTL" again -c 40 -s 64k --random
same ours again
[ "$(awk '$2 % 65536 || $2 > 16711680 || $3 != 65536' ours | wc -l)" = 0 ]
[ "$(awk '$2 > 40 * 65536' ours | wc -l)" -gt 20 ] || fail "$(cat ours)"
# Some of them write.
sent "$IMGCTL" ours -c 200 -d 50 --write-mix 20
[[ $(grep -c Write ours) =~ ^[2-6].$ ]] || fail "$(grep -c Write ours) write"

# Rates and times that fit each other.
expect_exit 0 "$IMGCTL" bench --output json -c 300 -s 8192 -d 1 a.qcow2
jq -e '.read as $r | .["elapsed-ns"] as $t | $r["latency-ns"] as $l |
	($r.iops - 300e9 / $t | fabs) <= 1 and
	($r["bytes-per-second"] - 300e9 * 8192 / $t | fabs) <= 1 and
	$l.mean * 300 <= $t and $l.mean >= $l.min and $l.mean <= $l.max' \
	out >json.ok || fail "$(cat out)"

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
-t bogus|Invalid cache option: bogus
-w -U|force-share=on can only be used with read-only images
EOF

for o in threads native io_uring; do
	expect_exit 0 "$IMGCTL" bench -i $o -c 10 a.qcow2
done
expect_exit 0 "$IMGCTL" bench -n -c 10 --force-share a.qcow2
expect_exit 0 "$IMGCTL" bench -c 10 --image-opts driver=qcow2,file.filename=a.qcow2
expect_exit 0 "$IMGCTL" bench -w -d 4 -c 40 --flush-interval 8 --no-drain a.qcow2

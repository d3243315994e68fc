#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Chains that do not end, in each format that has backing files: an image above
# itself, two above each other, and 300 one above the other.
. "$(dirname "$0")/../lib/e2e.sh"
needs python3 timeout "$IMGCTL" "$IMGD"

limit=65536 # KiB
if grep -qaE '__[at]san_init' "$IMGCTL"; then
	limit=$((limit * 16)) # a sanitizer's own memory
fi

# chain FORMAT N NEXT: n000 to the last, each above the one behind it, the last
# above n$NEXT.  The name is changed in the bytes of the first.
chain()
{
	python3 - "$@" <<'END'
import struct
import sys
form, n, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open("first", "rb") as f:
    first = f.read()
for i in range(n):
    to = last if i == n - 1 else i + 1
    data = bytearray(first)
    for coding in "ascii", "utf-16le", "utf-16be":
        data = data.replace("n999".encode(coding), f"n{to:03}".encode(coding))
    if form == "vpc":  # its header has a sum
        data[512 + 36:512 + 40] = bytes(4)
        struct.pack_into(">I", data, 512 + 36,
                         ~sum(data[512:1536]) & 0xffffffff)
    if len(data.rstrip(b"\0")) < 1 << 20:
        data = data.rstrip(b"\0")
    with open(f"n{i:03}.{form}", "wb") as f:
        f.write(data)
        f.truncate(len(first))
END
}

# refused CODE TEXT CMD...: in time, in little memory, with one message.
refused()
{
	local code=$1 text=$2
	shift 2
	expect_exit 0 timeout 20 python3 - "$code" "$limit" "$@" <<'END'
import os
import subprocess
import sys
p = subprocess.Popen(sys.argv[3:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(p.pid, 0)
if os.waitstatus_to_exitcode(status) != int(sys.argv[1]):
    sys.exit(f"exit code {os.waitstatus_to_exitcode(status)}")
if usage.ru_maxrss > int(sys.argv[2]):
    sys.exit(f"{usage.ru_maxrss} KiB")
END
	[ "$(wc -l <err)" = 1 ] || fail "not one message: $*: $(head -c 3000 err)"
	expect_err "$text"
}

# all FORMAT TEXT
all()
{
	local f=$1 text=$2
	expect_exit 0 timeout 20 "$IMGCTL" info -f "$f" "n000.$f"
	refused 1 "$text" "$IMGCTL" info -f "$f" --backing-chain "n000.$f"
	refused 1 "$text" "$IMGCTL" map -f "$f" "n000.$f"
	refused 1 "$text" "$IMGCTL" convert -f "$f" -O raw "n000.$f" out.raw
	refused 1 "$text" "$IMGCTL" measure -f "$f" -O qcow2 "n000.$f"
	refused 2 "$text" "$IMGCTL" compare -f "$f" -F "$f" "n000.$f" "n000.$f"
	refused 1 "$text" "$IMGCTL" bench -w -c 1 -f "$f" "n000.$f"
	refused 1 "$text" "$IMGD" -r -f "$f" "n000.$f" --run true
}

for f in qcow2 qed qcow vmdk vhdx vpc; do
	"$IMGCTL" create -q -f $f n999.$f 1M
	"$IMGCTL" create -q -f $f -b n999.$f -F $f first 1M
	rm n999.$f
	chain $f 1 0
	all $f "n000.$f' creates an infinite loop."
	chain $f 2 0
	all $f "n000.$f' creates an infinite loop."
	chain $f 300 0
	refused 1 "is one too many: a chain has at most 256" \
		"$IMGCTL" map -f $f n000.$f
	refused 1 "is one too many: a chain has at most 256" \
		"$IMGD" -r -f $f n000.$f --run true
	rm -f n*.$f first
done

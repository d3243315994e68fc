#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: long reads, which may go from the page cache to the socket without a
# copy, give the bytes of the disk: warm and cold, with holes, at odd offsets,
# beside writes; and a file that is cut meanwhile costs that client only.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdsh qemu-img "$IMGD"

# Holes of all sizes between the data; the end is no multiple of a page.
random_file disk.raw 16777216
for at in 100 200 300 1000 2000 3000; do
	fallocate --punch-hole --offset $((at * 4096)) \
		--length $((at * 777)) disk.raw
done
truncate -s $((16 * 1024 * 1024 + 512 * 7)) disk.raw
qemu-img convert -O qcow2 disk.raw disk.qcow2
qemu-img create -q -f qcow2 -F qcow2 -b disk.qcow2 over.qcow2

# The page cache forgets the file.
forget()
{
	dd if="$1" iflag=nocache count=0 status=none
}

# reads: many at a time, compared with disk.raw.
reads()
{
	URI=$URI nbdsh -c - <<'END'
import os, random
want = open("disk.raw", "rb").read()
rng = random.Random(1)
h.connect_uri(os.environ["URI"])
todo = []
for i in range(300):
    off = rng.randrange(len(want))
    n = min(len(want) - off, rng.choice([1, 4096, 70000, 300000, 1 << 20]))
    if rng.randrange(2):
        off -= off % 4096
    buf = nbd.Buffer(n)
    todo.append((h.aio_pread(buf, off), buf, off, n))
    while h.aio_in_flight() > 24:
        h.poll(-1)
while h.aio_in_flight():
    h.poll(-1)
for cookie, buf, off, n in todo:
    assert h.aio_command_completed(cookie)
    assert buf.to_bytearray() == want[off:off + n], (off, n)
h.shutdown()
END
}

# look FORMAT FILE [ARGS...]: cold, then warm.
look()
{
	local format=$1 file=$2
	shift 2
	forget disk.raw
	forget disk.qcow2
	start_imgd -f "$format" "$@" "$file"
	reads
	reads
	stop_server
}

look raw disk.raw
look raw disk.raw --read-only
look raw disk.raw --cache=none
look qcow2 disk.qcow2
look qcow2 disk.qcow2 --read-only
look qcow2 over.qcow2

# What is written is what the next read gives; others' data does not change.
cp disk.raw copy.raw
start_imgd -f raw -e 2 copy.raw
URI=$URI nbdsh -c - <<'END'
import os
h.connect_uri(os.environ["URI"])
for i in range(64):
    data = bytes([i + 1]) * 131072
    h.pwrite(data, 1048576)
    assert h.pread(131072, 1048576) == data, i
want = open("disk.raw", "rb").read()
assert h.pread(1048576, 0) == want[:1048576]
assert h.pread(1048576, 1179648) == want[1179648:2228224]
h.shutdown()
END

# The file is cut: reads past its end give zeroes, an error or the end of that
# connection; the server lives, and serves the rest.
URI=$URI nbdsh -c - <<'END'
import os
h.connect_uri(os.environ["URI"])
h.pread(1048576, 4194304)
os.truncate("copy.raw", 4194304 + 4096)
try:
    got = h.pread(1048576, 4194304)
    assert got[4096:] == bytes(1048576 - 4096)
except nbd.Error:
    pass
END
URI=$URI nbdsh -c - <<'END'
import os
h.connect_uri(os.environ["URI"])
assert h.pread(262144, 0) == open("copy.raw", "rb").read()[:262144]
h.shutdown()
END
stop_server

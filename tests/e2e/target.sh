#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl: what stands at the name of a target survives until the new file is
# complete; and what is written in place all the same.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdkit qemu-img prlimit python3

mkdir work
random_file src.raw 8388608
random_file old 100000 2
cp old work/target

# Nothing but what was there, and that as it was.
untouched()
{
	same old work/target
	[ "$(ls -A work)" = target ] || fail "left behind: $(ls -A work)"
}

# A temporary file stands beside the target.
at_work()
{
	wait_until sh -c 'ls work/.target.* >/dev/null 2>&1' ||
		fail "no temporary file"
}

# A signal in the middle: the target is as before, the signal ends us.
for sig in HUP INT TERM; do
	env --default-signal=$sig "$IMGCTL" convert -r 100k -O qcow2 \
		src.raw work/target &
	pid=$!
	at_work
	kill -$sig "$pid"
	rc=0
	wait "$pid" || rc=$?
	[ "$rc" = $((128 + $(kill -l $sig))) ] || fail "$sig: ended with $rc"
	untouched
done

# src.raw, of which nothing is read until there is a file `go`.
start_nbdkit -r eval get_size='echo 8388608' \
	pread="until [ -e $TMP/go ]; do sleep 0.05; done
		dd if=$TMP/src.raw iflag=count_bytes,skip_bytes bs=64k \
			skip=\$4 count=\$3 status=none"

# One that is ignored stays ignored.
(
	trap '' HUP
	exec "$IMGCTL" convert -f raw "$URI" work/target
) &
pid=$!
at_work
kill -HUP "$pid"
touch go
wait "$pid"
same src.raw work/target
rm go
cp old work/target

# kill -9: a temporary file stays, but the target is whole.
"$IMGCTL" convert -r 100k src.raw work/target &
pid=$!
at_work
kill -9 "$pid"
wait "$pid" || true
same old work/target
rm work/.target.*

# Writing fails.
for cmd in 'convert src.raw work/target' 'convert -c -O qcow2 src.raw work/target' \
	'dd if=src.raw of=work/target' \
	'create -q -o preallocation=full work/target 8M'; do
	# shellcheck disable=SC2086
	expect_exit 1 prlimit --fsize=1000000 "$IMGCTL" $cmd
	expect_err 'work/target'
	untouched
done

# USR1 asks for progress and harms nobody.
"$IMGCTL" convert -f raw "$URI" work/target 2>usr1.log &
pid=$!
at_work
kill -USR1 "$pid"
touch go
wait "$pid"
stop_server
grep -qE '^    \([0-9]+\.[0-9]{2}/100%\)$' usr1.log
same src.raw work/target

# Names: links are followed, relative names inside keep their meaning.
cp old work/target
ln -s target work/link
ln work/target work/hard
expect_exit 0 "$IMGCTL" convert src.raw work/link
[ -L work/link ] && same src.raw work/target && same old work/hard
mkdir work/sub
qemu-img create -q -f qcow2 work/sub/base 1M
(cd work && "$IMGCTL" create -q -f qcow2 -b base -F qcow2 sub/over)
qemu-img check -q work/sub/over
(cd work/sub && "$IMGCTL" convert -O qcow2 -B base -F qcow2 over copy)
qemu-img info work/sub/copy | grep >/dev/null '^backing file: base '
long=$(printf 'x%.0s' {1..250})
expect_exit 0 "$IMGCTL" convert src.raw "work/$long"
same src.raw "work/$long"

# Attributes of what is replaced.
chmod 640 work/target
python3 - <<'END' || echo "no extended attributes here"
import os
os.setxattr("work/target", "user.note", b"kept")
END
attributes=$(getfattr -d work/target 2>/dev/null || true)
expect_exit 0 "$IMGCTL" convert -O qcow2 src.raw work/target
[ "$(stat -c %a work/target)" = 640 ]
[ "$(getfattr -d work/target 2>/dev/null || true)" = "$attributes" ]

[ "$(id -u)" = 0 ] || skip "the rest needs root"

# In place: a file whose owner we cannot keep, in a folder that we can write.
chmod 777 work "$TMP"
printf old >work/other
chmod 666 work/other
inode=$(stat -c %i work/other)
as_nobody()
{
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
if as_nobody test -x "$IMGCTL"; then
	chmod 644 src.raw
	as_nobody "$IMGCTL" convert src.raw work/other
	same src.raw work/other
	[ "$(stat -c %i:%u work/other)" = "$inode:0" ]
	# And one in a folder that we cannot write.
	chmod 755 work
	as_nobody "$IMGCTL" create -q -f qcow2 work/other 1M
	[ "$(stat -c %i:%u work/other)" = "$inode:0" ]
	expect_exit 1 as_nobody "$IMGCTL" create -q -f qcow2 work/new 1M
	[ ! -e work/new ]
fi

# A file system that is too small for the new file.
mkdir small
if mount -t tmpfs -o size=4M none small 2>/dev/null; then
	on_exit umount "$TMP/small"
	cp old small/target
	for cmd in 'convert -f raw src.raw' 'convert -c -f raw -O qcow2 src.raw' \
		'convert -S 0 -t writeback -f raw src.raw'; do
		# shellcheck disable=SC2086
		expect_exit 1 "$IMGCTL" $cmd small/target
		expect_err 'No space left on device'
		same old small/target
		[ "$(ls -A small)" = target ]
	done
	expect_exit 1 "$IMGCTL" dd -f raw if=src.raw of=small/target
	expect_exit 1 "$IMGCTL" create -o preallocation=full small/target 8M
	same old small/target
	[ "$(ls -A small)" = target ]
fi

# A mount point.
cat >mount.sh <<'END'
touch here there && mount --bind there here && "$1" convert src.raw here
END
if unshare -m true 2>/dev/null; then
	unshare -m sh mount.sh "$IMGCTL"
	same src.raw there
fi

# A block device.
loop=$(truncate -s 9M disk && losetup -f --show disk 2>/dev/null) ||
	skip "no loop device here"
on_exit losetup -d "$loop"
expect_exit 0 "$IMGCTL" convert src.raw "$loop"
cmp -n 8388608 src.raw "$loop"
expect_exit 0 "$IMGCTL" convert -O qcow2 src.raw "$loop"
qemu-img compare -f raw -F qcow2 src.raw "$loop"
expect_exit 0 "$IMGCTL" convert -n -t none src.raw "$loop"
cmp -n 8388608 src.raw "$loop"
expect_exit 0 "$IMGCTL" info "$loop"
expect_out 'protocol type: host_device'
expect_exit 1 "$IMGCTL" create "$loop" 10M

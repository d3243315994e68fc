# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Comparing imgctl with qemu-img, for scripts that have sourced e2e.sh.
#
# Both tools run the same command line, each in a folder of its own, "ours" and
# "theirs"; imgctl is called by the name qemu-img.  What the peer (7.2) does
# not print yet is left out of the comparison; and so is what depends on how
# much of a file the host really stores.

needs qemu-img qemu-io python3

mkdir ours theirs bin
ln -s "$IMGCTL" bin/qemu-img
OURS=$TMP/bin/qemu-img
THEIRS=$(command -v qemu-img)

# Advice has no prefix and ends its line; the list of suffixes is advice.  That
# a file could not be opened is said never, once or twice.  Only we know who
# holds a lock, and say what to do about bitmaps.  Only it has modules, and says
# that a file system takes no hints.
plain_err()
{
	sed -i -e '/^qemu: module block-/d' \
		-e '/warning: Failed to set extent size hint: /d' \
		-e 's/^qemu-img: kilobytes, /kilobytes, /' \
		-e "s/\(Could not open '[^']*': \)\1/\1/" \
		-e "s/Could not open '[^']*': \(Failed to \)/\1/" \
		-e '/^It is in use by process /d' \
		-e '/^They are about the disk as it is now, /d' \
		-e '$a\' "$1"
}

# Leave out children, Child nodes, "compressed", disk sizes, and whether a
# header is detached.
plain()
{
	awk '
	skip { if ($0 == close_line || $0 == close_line ",") skip = 0; next }
	/^ *"children": \[$/ {
		close_line = $0
		sub(/".*/, "]", close_line)
		skip = 1
		next
	}
	/^Child node / { in_child = 1; next }
	in_child && /^    / { next }
	{ in_child = 0 }
	/^ *"actual-size": / || /^disk size: / { next }
	/^ *"detached-header": / || /^ *detached header: / { next }
	{ gsub(/"compressed": (true|false), /, "") }
	{ gsub(/, "compressed": (true|false)}/, "}"); print }' "$1"
}

# in_dir DIR CMD...: result in $TMP/DIR.rc, .out, .err
run_in()
{
	local dir=$1 rc=0
	shift
	(cd "$TMP/$dir" && "$@") >"$TMP/$dir.raw" 2>"$TMP/$dir.err" || rc=$?
	plain "$TMP/$dir.raw" >"$TMP/$dir.out"
	plain_err "$TMP/$dir.err"
	echo "exit code $rc" >"$TMP/$dir.rc"
}

same_answers()
{
	local f
	for f in rc out err; do
		diff -u --label "qemu-img $f" --label "imgctl $f" \
			"theirs.$f" "ours.$f" >&2 ||
			fail "imgctl and qemu-img differ: $*"
	done
}

# agree ARGS...: same exit code, same text on stdout and stderr.
agree()
{
	run_in ours "$OURS" "$@"
	run_in theirs "$THEIRS" "$@"
	same_answers "$@"
}

# agree_on_theirs ARGS...: both tools in the peer's folder.
agree_on_theirs()
{
	local f
	run_in theirs "$OURS" "$@"
	for f in rc out err; do
		mv "theirs.$f" "ours.$f"
	done
	run_in theirs "$THEIRS" "$@"
	same_answers "$@"
}

# both CMD...: in both folders; must succeed.
both()
{
	(cd ours && "$@") >&2
	(cd theirs && "$@") >&2
}

# hold_lock FILE: until the script ends it is locked as by a virtual machine
# that writes it: bytes 101 (writes) and 201 (no other may write).
hold_lock()
{
	python3 - "$1" >lock.ready <<'END' &
import fcntl, os, signal, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
F_OFD_SETLK = 37
for byte in (100, 101, 201, 203):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack(
        "hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
print("locked", flush=True)
signal.pause()
END
	on_exit kill_server $!
	wait_until grep -q locked lock.ready || fail "cannot lock $1"
}

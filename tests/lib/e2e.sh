# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What every e2e and interop script starts with:
#
#	. "$(dirname "$0")/../lib/e2e.sh"
#
# The script then runs in a private folder, $TMP, that is removed at the end;
# any command that fails unexpectedly ends it with a message.  Exit codes:
# 0 passed, 77 skipped (what is missing is printed), anything else failed.
#
# Variables (from the environment; else the artefacts in build/):
#	$IMGCTL $IMGD $PLUGIN	the programs under test
#	$STAMPER		clients that write at random (interop/stamper.c)
#	$SRC			the source tree
#	$SAMPLES		images made by other programs, may not exist
#	$TMP			the private folder, also the working folder

set -eEuo pipefail
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1

SRC=${SRC:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
IMGCTL=${IMGCTL:-$SRC/build/ctl/imgctl}
IMGD=${IMGD:-$SRC/build/server/imgd}
PLUGIN=${PLUGIN:-$SRC/build/plugin/nbdkit-image-plugin.so}
STAMPER=${STAMPER:-$SRC/build/tests/interop/stamper}
SAMPLES=${IMGD_SAMPLES:-$SRC/../shared/samples}

if QEMU_IMG=${QEMU_IMG:-$(command -v qemu-img)}; then
	export QEMU_IMG PATH=$SRC/tests/lib/peers:$PATH
fi

exit_cmds=()

# Run a command when the script ends, however it ends; last in, first out.
on_exit()
{
	exit_cmds+=("$(printf '%q ' "$@")")
}

run_exit_cmds()
{
	local rc=$? i
	trap - EXIT ERR
	set +e
	for ((i = ${#exit_cmds[@]} - 1; i >= 0; i--)); do
		eval "${exit_cmds[i]}"
	done
	exit "$rc"
}

trap run_exit_cmds EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'echo "$0:$LINENO: failed: $BASH_COMMAND" >&2' ERR

TMP=$(mktemp -d "${TMPDIR:-/tmp}/imgd-test.XXXXXX")
on_exit rm -rf "$TMP"
cd "$TMP"

fail()
{
	trap - ERR
	echo "$0:${BASH_LINENO[-2]}: $*" >&2
	exit 1
}

skip()
{
	echo "skipped: $*"
	exit 77
}

# Skip unless each of these can be run (or, with a slash, is there).
needs()
{
	local cmd
	for cmd; do
		if [[ $cmd == */* ]]; then
			[ -e "$cmd" ] || skip "there is no $cmd"
		else
			command -v "$cmd" >/dev/null || skip "no $cmd here"
		fi
	done
}

# The path of a sample, unpacked if it is packed; $TMP/NAME.
sample()
{
	if [ -e "$SAMPLES/$1" ]; then
		cp "$SAMPLES/$1" "$TMP/$1"
		chmod u+w "$TMP/$1"
	else
		bzip2 -dc "$SAMPLES/$1.bz2" >"$TMP/$1"
	fi
	echo "$TMP/$1"
}

needs_samples()
{
	[ -d "$SAMPLES" ] || skip "no folder with samples (set IMGD_SAMPLES)"
	needs bzip2
}

dump_output()
{
	local f
	for f in out err; do
		echo "--- its std$f:"
		head -c 4000 "$TMP/$f"
	done >&2
}

# expect_exit N CMD...: run it; what it prints is kept in $TMP/out, $TMP/err.
expect_exit()
{
	local want=$1 rc=0
	shift
	"$@" >"$TMP/out" 2>"$TMP/err" || rc=$?
	if [ "$rc" -ne "$want" ]; then
		dump_output
		fail "exit code $rc instead of $want: $*"
	fi
}

# (bash does not end a script for a `! CMD` that fails: use expect_exit 1.)

# The last expect_exit printed this text (anywhere; no pattern).
expect_out()
{
	grep -qF -e "$1" "$TMP/out" || {
		dump_output
		fail "not printed: $1"
	}
}

expect_err()
{
	grep -qF -e "$1" "$TMP/err" || {
		dump_output
		fail "not printed to stderr: $1"
	}
}

# Both files hold the same bytes.
same()
{
	cmp "$1" "$2" >&2 || fail "$1 and $2 differ"
}

sha()
{
	sha256sum -- "$1" | cut -d' ' -f1
}

# random_file FILE LEN [SEED]: bytes that do not compress, the same each time.
random_file()
{
	python3 - "$@" <<'END'
import random, sys
rnd = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
left = int(sys.argv[2])
with open(sys.argv[1], "wb") as f:
    while left:
        f.write(rnd.randbytes(min(left, 1 << 20)))
        left -= min(left, 1 << 20)
END
}

# Python commands on an NBD connection.  Debian's python3 has the module nbd;
# another python3 that comes first in $PATH does not.
nbdsh()
{
	PATH=/usr/bin:$PATH command nbdsh "$@"
}

# wait_until CMD...: until it succeeds; 20 seconds at most.
wait_until()
{
	local i
	for ((i = 0; i < 400; i++)); do
		if "$@"; then
			return 0
		fi
		sleep 0.05
	done
	return 1
}

wait_for()
{
	wait_until test -e "$1" || fail "$1 did not appear"
}

# Has a process ended?
ended()
{
	! kill -0 "$1" 2>/dev/null
}

# Is a Unix socket accepting?  (0x10000 is the kernel's flag for that.)
listening()
{
	awk -v path="$1" '$4 == "00010000" && $8 == path { found = 1 }
		END { exit !found }' /proc/net/unix
}

listening_or_gone()
{
	listening "$1" || ended "$2"
}

server_n=0

# Common part of the two below: CMD... serves on the Unix socket $SOCK.
# Sets SERVER_PID, SOCK and URI; the server's output is $TMP/server-N.log.
start_server()
{
	local log=$TMP/server-$server_n.log
	URI="nbd+unix:///?socket=$SOCK"
	"$@" >"$log" 2>&1 </dev/null &
	SERVER_PID=$!
	on_exit kill_server "$SERVER_PID"
	if ! wait_until listening_or_gone "$SOCK" "$SERVER_PID" ||
		ended "$SERVER_PID"; then
		cat "$log" >&2
		fail "the server does not listen: $*"
	fi
}

# Only while it is a child of ours: the number of one that has ended may be that
# of any process of this machine.
kill_server()
{
	[[ " $(jobs -pr | tr '\n' ' ')" == *" $1 "* ]] || return 0
	kill -9 "$1" 2>/dev/null && wait "$1" 2>/dev/null
}

# The same for one that has left us; its command line names $TMP.
kill_daemon()
{
	grep -sqaF "$TMP" "/proc/$1/cmdline" && kill -9 "$1" 2>/dev/null
}

next_socket()
{
	server_n=$((server_n + 1))
	SOCK=$TMP/server-$server_n.sock
}

# start_imgd ARGS...: imgd until it is stopped, on a private Unix socket.
start_imgd()
{
	next_socket
	start_server "$IMGD" --persistent --socket="$SOCK" "$@"
}

# start_nbdkit ARGS...: nbdkit with ARGS (plugin and its parameters, filters).
start_nbdkit()
{
	next_socket
	start_server nbdkit --foreground --unix "$SOCK" "$@"
}

# start_qemu_nbd ARGS...: the reference's server.
start_qemu_nbd()
{
	next_socket
	start_server qemu-nbd --persistent --socket="$SOCK" "$@"
}

# End the newest server as its user would; it must say that all went well.
stop_server()
{
	local rc=0
	kill -TERM "$SERVER_PID"
	wait "$SERVER_PID" || rc=$?
	if [ "$rc" -ne 0 ]; then
		cat "$TMP/server-$server_n.log" >&2
		fail "the server ended with exit code $rc"
	fi
}

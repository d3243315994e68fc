#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: what it takes from a service manager and what it does not, addresses
# of all kinds, and a limit for clients that is one for all of its sockets.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo "$IMGD"
truncate -s 4M a.raw

# activated PID FD-N [NAME=VALUE...] -- ARGS...: imgd with ARGS and with a
# socket as its descriptor 3, a file as 4.  PID self: its own.
cat >activated.py <<'END'
import os, socket, sys
pid, n = sys.argv[1:3]
cut = sys.argv.index("--")
s = socket.socket(socket.AF_UNIX)
s.bind("given")
s.listen()
f = os.open("a.raw", os.O_RDONLY)
for i, fd in enumerate([os.dup2(x, 20 + i) for i, x in
                        enumerate([s.fileno(), f])]):
    os.dup2(fd, 3 + i)
    os.set_inheritable(3 + i, True)
os.environ.update(x.split("=", 1) for x in sys.argv[3:cut])
os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "self" else pid
os.environ["LISTEN_FDS"] = n
os.environ["LISTEN_FDNAMES"] = "x"
os.execv(os.environ["IMGD"], [os.environ["IMGD"]] + sys.argv[cut + 1:])
END
export IMGD
activated()
{
	rm -f given
	timeout 20 python3 activated.py "$@"
}

# Those of another process are not ours; ours are not those of a command.
expect_exit 0 activated 1 1 -- -f raw a.raw --run 'nbdinfo --size "$uri"'
expect_out 4194304
expect_exit 0 activated self 1 -- -f raw a.raw --run '
	nbdinfo --size "nbd+unix:///?socket=given" &&
	env | grep ^LISTEN_ || echo none'
expect_out 4194304
expect_out none
expect_exit 1 activated self 2 -- -f raw a.raw --run true
expect_err 'file descriptor 4 of LISTEN_FDS is not a socket'
expect_exit 1 activated self 17 -- -f raw a.raw --run true
expect_err 'more than 16 sockets'
for args in "-k $TMP/k" '-p 0' '-b localhost' "--listen unix:$TMP/k"; do
	# shellcheck disable=SC2086
	expect_exit 1 activated self 1 -- -f raw $args a.raw --run true
	expect_err 'cannot be used with socket activation'
	[ ! -e k ]
done

# A manager whose socket is not in the file system.
expect_exit 0 python3 - <<'END'
import os, socket, subprocess
hear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = "imgd-test-%d" % os.getpid()
hear.bind("\0" + name)
hear.settimeout(20)
os.environ["NOTIFY_SOCKET"] = "@" + name
subprocess.check_call([os.environ["IMGD"], "-f", "raw", "a.raw",
                       "--run", "true"])
assert hear.recv(1000).startswith(b"READY=1\n")
assert hear.recv(1000) == b"STOPPING=1\n"
END

# No more than there is room for.
listens=()
for i in {1..16}; do
	listens+=(--listen "unix:$TMP/$i")
done
expect_exit 0 "$IMGD" -f raw "${listens[@]}" a.raw --run '
	nbdinfo --size "nbd+unix:///?socket='"$TMP"'/16"'
expect_out 4194304
expect_exit 1 "$IMGD" -f raw "${listens[@]}" -k "$TMP/k" a.raw --run true
expect_err 'more than 16 sockets'
expect_exit 1 "$IMGD" -f raw "${listens[@]}" -p 0 a.raw --run true
expect_err 'more than 16 sockets'
[ ! -e 1 ] && [ ! -e 16 ]

# All addresses of the machine are reached at its own.
expect_exit 0 "$IMGD" -f raw -p 0 a.raw --run 'echo "$uri"; nbdinfo --size "$uri"'
expect_out 'nbd://localhost:'
expect_out 4194304
# One port for both families, each with a socket of its own.
if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
	port=$(python3 -c 'import socket
s = socket.socket(socket.AF_INET6)
s.bind(("::", 0))
print(s.getsockname()[1])')
	expect_exit 0 "$IMGD" -f raw --listen "[::]:$port" \
		--listen "0.0.0.0:$port" -e 2 a.raw --run "
		nbdinfo --size 'nbd://127.0.0.1:$port' &&
		nbdinfo --size 'nbd://[::1]:$port'"
	[ "$(grep -c '^4194304$' out)" = 2 ]
else
	echo "no IPv6 here: not tried" >&2
fi

# Two wait, at two sockets, for the only place: one of them gets it.
start_imgd -f raw -e 1 --listen "unix:$TMP/other" a.raw
expect_exit 0 timeout 20 python3 - "$SOCK" "$TMP/other" <<'END'
import select, socket, sys, time
def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s
for i in range(5):
    first = connect(sys.argv[1])
    assert first.recv(18).startswith(b"NBDMAGIC")
    waiting = [connect(path) for path in sys.argv[1:]]
    assert not select.select(waiting, [], [], 0.05)[0]
    first.close()
    served = select.select(waiting, [], [], 10)[0]
    time.sleep(0.05)
    assert len(select.select(waiting, [], [], 0)[0]) == 1
    served[0].close()
    waiting.remove(served[0])
    assert select.select(waiting, [], [], 10)[0]
    waiting[0].close()
END
stop_server

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: how it starts, when it ends, and what it leaves behind.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdcopy nbdsh mkfifo ps qemu-img qemu-io "$IMGD"

random_file disk.raw 4194304
path=$TMP/s
uri="nbd+unix:///?socket=$path"

# A client that says nothing has ten seconds, if nothing else is said: we look
# again at the end.
truncate -s 1M silent.raw
start_imgd -f raw silent.raw
python3 - "$SOCK" >silent <<'END' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
begin = time.monotonic()
while s.recv(100):
    pass
print(int(time.monotonic() - begin))
END
silent=$!

# A signal ends it well; the socket and the pid file go.
for signal in TERM INT HUP; do
	start_imgd -f raw --pid-file=pid disk.raw
	wait_for pid
	[ "$(cat pid)" = "$SERVER_PID" ]
	nbdinfo --size "$URI" >/dev/null
	kill -s "$signal" "$SERVER_PID"
	wait "$SERVER_PID"
	[ ! -e "$SOCK" ] && [ ! -e pid ]
done

# Without -t it goes with the last client that negotiated; a port probe is
# none.
"$IMGD" -f raw -k "$path" disk.raw &
pid=$!
on_exit kill_server "$pid"
wait_until listening "$path"
python3 - "$path" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18)
END
nbdinfo --list "$uri" >/dev/null
sleep 0.2
kill -0 "$pid"
nbdinfo --size "$uri" >/dev/null
wait_until ended "$pid"
wait "$pid"
[ ! -e "$path" ]

# A socket that a killed server left is replaced.
start_imgd -f raw disk.raw
kill_server "$SERVER_PID" || true
[ -e "$SOCK" ]
expect_exit 0 "$IMGD" -f raw -k "$SOCK" disk.raw --run 'nbdinfo --size "$uri"'
expect_out 4194304

# --fork: ready when it returns; failures are told.
expect_exit 0 "$IMGD" --fork -t -f raw -k "$path" --pid-file=pid disk.raw
[ ! -s out ] && [ ! -s err ]
pid=$(cat pid)
on_exit kill_daemon "$pid"
nbdinfo --size "$uri" >/dev/null
# It keeps neither the folder nor the session that it was started in.
[ "$(readlink "/proc/$pid/cwd")" = / ]
[ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
# One that cannot start takes nothing from the one that runs.
expect_exit 1 "$IMGD" -t -f raw -k "$TMP/s2" --pid-file=pid disk.raw
expect_err lock
[ "$(cat pid)" = "$pid" ]
[ ! -e s2 ]
expect_exit 1 "$IMGD" --fork -t -f raw -k "$TMP/s2" nope.raw
expect_err "Could not open 'nope.raw'"
kill "$pid"
wait_until ended "$pid"
[ ! -e "$path" ] && [ ! -e pid ]
# With -v it still says what clients do.
expect_exit 0 "$IMGD" -v --fork -f raw -k "$path" --pid-file=pid disk.raw
pid=$(cat pid)
nbdinfo --size "$uri" >/dev/null
wait_until ended "$pid"
expect_err 'client 1: disconnected'

# --run: the variables, the exit code, a TCP port of its own, private folders
# that are gone afterwards.
expect_exit 7 "$IMGD" -f raw disk.raw --run 'nbdinfo --size "$uri" &&
	echo "$unixsocket" && exit 7'
expect_out 4194304
[ ! -e "$(dirname "$(tail -n 1 out)")" ]
expect_exit 0 "$IMGD" -f raw -b 127.0.0.1 -p 0 -x 'a b' disk.raw --run '
	echo "$uri" "$port" "$exportname"; nbdinfo --size "$uri"'
port=$(awk '{ print $2; exit }' out)
expect_out "nbd://127.0.0.1:$port/a%20b $port a b"
expect_out 4194304
expect_exit 0 "$IMGD" -f raw -b localhost -p 0 disk.raw --run '
	nbdinfo --size "$uri"'

# A command that a signal ends; signals and pipes are as usual for it.
expect_exit 143 "$IMGD" -f raw disk.raw --run \
	'exec python3 -c "import os; os.kill(os.getpid(), 15)"'
expect_exit 0 "$IMGD" -f raw disk.raw --run \
	'trap "echo piped" EXIT; yes | head -n 1'
expect_out piped
[ ! -s err ] || fail "$(cat err)"
# The end of the server is the end of the command.
expect_exit 0 "$IMGD" -f raw disk.raw --run \
	'echo $$ >run.pid; kill -TERM $PPID; exec sleep 100'
wait_until ended "$(cat run.pid)" || {
	kill "$(cat run.pid)"
	fail 'the command goes on'
}

# A pid file that is a pipe is written, and stays one.
mkfifo pipe
cat pipe >pid.piped &
expect_exit 0 "$IMGD" -f raw --pid-file=pipe disk.raw --run 'echo $PPID'
wait $!
same out pid.piped
[ -p pipe ]

# What clients do, right or wrong, is no news unless -v asks for it.
expect_exit 0 "$IMGD" -f raw disk.raw --run 'nbdinfo --size "$uri" &&
	! nbdinfo "nbd+unix:///none?socket=$unixsocket" 2>/dev/null'
[ ! -s err ] || fail "$(cat err)"

# A socket from the service manager.
expect_exit 0 python3 - "$IMGD" <<'END'
import os, socket, subprocess, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
port = s.getsockname()[1]
pid = os.fork()
if not pid:
    os.dup2(s.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "1"
    os.execv(sys.argv[1], [sys.argv[1], "-f", "raw", "disk.raw"])
s.close()
uri = "nbd://127.0.0.1:%d" % port
size = subprocess.check_output(["nbdinfo", "--size", uri])
assert int(size) == 4194304
assert os.waitpid(pid, 0)[1] == 0
END

# -e: one client at a time; the next one waits for its turn.
start_imgd -f raw disk.raw
coproc qemu-io -f raw "$URI"
echo length >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}" # it is connected
[[ $line == *'4 MiB' ]]
nbdinfo --size "$URI" >second &
second=$!
sleep 0.3
kill -0 "$second"
[ ! -s second ]
echo q >&"${COPROC[1]}"
wait "$second"
[ "$(cat second)" = 4194304 ]
stop_server

# A client that says nothing is dropped, and does not keep its place.
start_imgd -f raw --handshake-limit=1 disk.raw
expect_exit 0 timeout 10 python3 - "$SOCK" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
while s.recv(100):
    pass
END
stop_server

# As much time as they like, or nearly.
for limit in 0 2147483647; do
	expect_exit 0 "$IMGD" -f raw --handshake-limit=$limit disk.raw \
		--run 'nbdinfo --size "$uri"'
	expect_out 4194304
done

# What a client was told is written is in the file when the server has ended,
# and what it had asked for at that moment is answered, also where the server
# has not had the time to look at it.
cat >asked.py <<'END'
import os, signal, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])

def get(n):
    b = b""
    while len(b) < n:
        part = s.recv(n - len(b))
        if not part:
            raise EOFError
        b += part
    return b

get(18)
s.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
get(10)
pid, late = int(sys.argv[2]), sys.argv[3] == "late"
n = 30 if late else 100
if late:
    os.kill(pid, signal.SIGSTOP)
s.sendall(b"".join(
    struct.pack(">IHHQQI", 0x25609513, 0, 1, i, i * 4096, 4096) + b"z" * 4096
    for i in range(n)))
replies = [] if late else [get(16)]
os.kill(pid, signal.SIGTERM)
os.kill(pid, signal.SIGCONT)
try:
    while True:
        replies.append(get(16))
except EOFError:
    pass
assert len(replies) == n, len(replies)
with open("told", "w") as f:
    for r in replies:
        magic, error, i = struct.unpack(">IIQ", r)
        assert magic == 0x67446698 and error in (0, 108)
        if not error:
            print(i, file=f)
END
for when in soon late; do
	start_imgd -f raw disk.raw
	python3 asked.py "$SOCK" "$SERVER_PID" $when
	wait "$SERVER_PID"
	python3 - <<-'END'
	with open("disk.raw", "rb") as f:
	    for line in open("told"):
	        f.seek(int(line) * 4096)
	        assert f.read(4096) == b"z" * 4096
	END
	echo "$when: $(wc -l <told) writes done"
done

# A client that negotiates meanwhile is told.
start_imgd -f raw disk.raw
expect_exit 0 nbdsh -c 'h.set_opt_mode(True)' -c "h.connect_uri('$URI')" \
	-c 'import os, signal' -c "os.kill($SERVER_PID, signal.SIGTERM)" -c '
try:
    while True:
        h.opt_info()
except nbd.Error as ex:
    print(ex.errno)'
expect_out ESHUTDOWN
wait "$SERVER_PID"

wait "$silent"
[ "$(cat silent)" -ge 9 ] && [ "$(cat silent)" -lt 30 ] || fail "$(cat silent)"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: several addresses, sockets of a service manager, and what it tells
# about itself: to the manager, to Prometheus, on SIGUSR1.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdinfo nbdsh "$IMGD"
truncate -s 4M a.raw b.raw

# --listen, beside -k and alone.
expect_exit 0 "$IMGD" -f raw -k "$TMP/k" --listen "unix:$TMP/u" \
	--listen 127.0.0.1:0 a.raw --run "
	nbdinfo --size 'nbd+unix:///?socket=$TMP/k' &&
	nbdinfo --size 'nbd+unix:///?socket=$TMP/u' &&
	nbdinfo --size \"nbd://127.0.0.1:\$port\""
[ "$(grep -c '^4194304$' out)" = 3 ]
[ ! -e k ] && [ ! -e u ]
if [ -e /proc/net/if_inet6 ] && grep -q ' lo$' /proc/net/if_inet6; then
	expect_exit 0 "$IMGD" -f raw --listen '[::1]:0' a.raw --run '
		nbdinfo --size "$uri"'
	expect_out 4194304
else
	echo "no IPv6 here: not tried" >&2
fi
expect_exit 1 "$IMGD" -f raw --listen '[::1' a.raw
expect_err "Invalid address '[::1'"
expect_exit 1 "$IMGD" -f raw --listen unix: a.raw
expect_err 'socket path must be absolute'

# Two sockets from the service manager; it hears when clients can connect and
# when the server ends.
expect_exit 0 timeout 30 python3 - "$IMGD" <<'END'
import os, signal, socket, subprocess, sys
hear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
hear.bind("notify")
hear.settimeout(20)
socks = []
for path in "one", "two":
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    socks.append(s)
pid = os.fork()
if not pid:
    # out of the way first: one of them may have the number 3 or 4
    high = [os.dup2(s.fileno(), 20 + i) for i, s in enumerate(socks)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i)
        os.set_inheritable(3 + i, True)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "2"
    os.environ["NOTIFY_SOCKET"] = "notify"
    os.execv(sys.argv[1], [sys.argv[1], "-f", "raw", "-t", "-e", "0", "a.raw"])
said = hear.recv(1000).decode()
assert said == "READY=1\nMAINPID=%d\n" % pid, said
for path in "one", "two":
    uri = "nbd+unix:///?socket=" + path
    size = subprocess.check_output(["nbdinfo", "--size", uri])
    assert int(size) == 4194304
os.kill(pid, signal.SIGTERM)
assert hear.recv(1000) == b"STOPPING=1\n"
assert os.waitpid(pid, 0)[1] == 0
END

# Counters: what a client does is in there, for its export alone.
start_imgd -e 0 --export 'a=a.raw,format=raw' \
	--export 'b"\=b.raw,format=raw,read-only=on' \
	--metrics "unix:$TMP/metrics"
scrape()
{
	python3 - "$TMP/metrics" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
text = b"".join(iter(lambda: s.recv(4096), b"")).decode()
head, body = text.split("\r\n\r\n", 1)
assert head.startswith("HTTP/1.0 200 "), head
assert "Content-Type: text/plain; version=0.0.4" in head.split("\r\n"), head
print(body, end="")
END
}
export -f scrape
export TMP SOCK
nbdsh -c - <<'END'
import os, subprocess
h.set_export_name("a")
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_unix(os.environ["SOCK"])
for i in range(3):
    h.pwrite(bytes(1000), 1000 * i)
for i in range(5):
    h.pread(4096, 4096 * i)
h.pread(1048576, 0)
h.flush()
h.zero(65536, 0)
h.trim(65536, 0)
for i in range(4):
    h.cache(65536, 0)
for i in range(2):
    h.block_status(65536, 0, lambda *args: 0)
g = nbd.NBD()
g.set_export_name('b"\\')
g.set_strict_mode(0)
g.connect_unix(os.environ["SOCK"])
try:
    g.pwrite(bytes(512), 0)
    raise SystemExit("written")
except nbd.Error:
    pass
subprocess.run(["bash", "-c", "scrape >now.txt"], check=True)
h.shutdown()
END
grep -qxF 'imgd_clients{export="a"} 1' now.txt || fail "$(cat now.txt)"
all_left()
{
	! scrape | grep >/dev/null '^imgd_clients{.*} [^0]'
}
wait_until all_left
scrape >metrics.txt
for line in 'imgd_requests_total{export="a",command="write"} 3' \
	'imgd_requests_total{export="a",command="read"} 6' \
	'imgd_requests_total{export="a",command="flush"} 1' \
	'imgd_requests_total{export="a",command="write_zeroes"} 1' \
	'imgd_requests_total{export="a",command="trim"} 1' \
	'imgd_requests_total{export="a",command="cache"} 4' \
	'imgd_requests_total{export="a",command="block_status"} 2' \
	'imgd_bytes_total{export="a",direction="written"} 3000' \
	'imgd_bytes_total{export="a",direction="read"} 1069056' \
	'imgd_request_errors_total{export="a"} 0' \
	'imgd_request_errors_total{export="b\"\\"} 1' \
	'imgd_bytes_total{export="b\"\\",direction="written"} 0' \
	'imgd_clients_total{export="a"} 1'; do
	grep -qxF "$line" metrics.txt || {
		cat metrics.txt >&2
		fail "not there: $line"
	}
done
# Every sample has a type before it.
awk '/^# TYPE / { type[$3] = 1 } /^[^#]/ { sub(/\{.*/, "")
	if (!type[$0]) exit 1 }' metrics.txt

# A scraper that says nothing keeps nobody for long.
python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
time.sleep(30)' "$TMP/metrics" &
silent=$!
on_exit kill_server "$silent"
timeout 20 bash -c "$(declare -f scrape); TMP=$TMP; scrape" >/dev/null

kill -USR1 "$SERVER_PID"
told()
{
	grep -qF "export 'a': 0 clients of 1, 18 requests, 0 errors, $(
	)1069056 bytes read, 3000 written" "$TMP/server-1.log"
}
wait_until told
stop_server
[ ! -e metrics ]

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Many clients with a mixed load on one imgd; some are killed at random.

soak.py IMGD [--clients N] [--seconds N] [--seed N]

Each client has a region of the disk for itself, a qcow2 overlay, and knows for
each sector which versions it may hold: the one that was acknowledged, and, of a
request that was not, the one that it would leave.  What a read gives must be
one of them.  A client that was killed is followed by another, which reads the
whole region first.  At the end the server is told to stop, must exit with 0
(sanitizers say otherwise), and qemu-img must find the image clean and read what
the clients know.
"""
import argparse
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import nbd

SECTOR = 512
REGION = 1 << 20                 # bytes of a client
SECTORS = REGION // SECTOR
MAX_RUN = 256                    # sectors of one request
IN_FLIGHT = 8
BASE_VERSION = 1                 # the base image has it everywhere
ZERO = 0
HEAD = struct.Struct("<QQ")
PAIR = struct.Struct("<II")      # versions a sector may hold


def sector_bytes(sector, version):
    if version == ZERO:
        return bytes(SECTOR)
    return HEAD.pack(sector, version) * (SECTOR // HEAD.size)


def version_of(data, sector):
    """None: such a sector was never written."""
    if not any(data):
        return ZERO
    found, version = HEAD.unpack_from(data)
    if found != sector or data != sector_bytes(sector, version):
        return None
    return version


class Model:
    """What the sectors of a region may hold; in a file, so that it outlives the
    client."""

    def __init__(self, path, region):
        self.first = region * SECTORS
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        self.at = region * SECTORS * PAIR.size

    def get(self, i):
        return PAIR.unpack_from(self.map, self.at + i * PAIR.size)

    def set(self, i, n, a, b):
        start = self.at + i * PAIR.size
        self.map[start:start + n * PAIR.size] = PAIR.pack(a, b) * n

    def begin(self, i, n, version):
        for k in range(i, i + n):
            self.set(k, 1, self.get(k)[0], version)

    def check(self, i, data, settle=False):
        """Is what was read one of what may be there?"""
        for k in range(len(data) // SECTOR):
            sector = self.first + i + k
            found = version_of(data[k * SECTOR:(k + 1) * SECTOR], sector)
            if found not in self.get(i + k):
                raise SystemExit(f"sector {sector} holds version {found}, "
                                 f"allowed are {self.get(i + k)}")
            if settle:
                self.set(i + k, 1, found, found)


class Client:
    def __init__(self, args, region, sock):
        self.rng = random.Random(f"{args.seed} {region} {os.getpid()}")
        self.model = Model("model", region)
        self.base = region * REGION
        self.pending = []        # (cookie, sector, count, buffer, written)
        self.version = 2 + max(max(self.model.get(i)) for i in range(SECTORS))
        self.h = nbd.NBD()
        self.h.connect_socket(sock.detach())
        for i in range(0, SECTORS, MAX_RUN):
            self.model.check(i, self.h.pread(MAX_RUN * SECTOR,
                                             self.base + i * SECTOR), True)

    def busy(self, i, n):
        return any(i < s + c and s < i + n for _, s, c, *_ in self.pending)

    def submit(self):
        n = self.rng.choice((1, 8, 8, 8, 64, MAX_RUN))
        i = self.rng.randrange(SECTORS - n + 1)
        if self.busy(i, n):
            return
        off, kind = self.base + i * SECTOR, self.rng.random()
        if kind < 0.45:
            buf = nbd.Buffer(n * SECTOR)
            cookie = self.h.aio_pread(buf, off)
            self.pending.append((cookie, i, n, buf, False))
            return
        version = self.version if kind < 0.8 else ZERO
        self.version += 1
        self.model.begin(i, n, version)
        fua = nbd.CMD_FLAG_FUA if self.rng.random() < 0.1 else 0
        if version:
            data = b"".join(sector_bytes(self.model.first + k, version)
                            for k in range(i, i + n))
            cookie = self.h.aio_pwrite(nbd.Buffer.from_bytearray(
                bytearray(data)), off, flags=fua)
        elif kind < 0.9:
            hole = nbd.CMD_FLAG_NO_HOLE if self.rng.random() < 0.5 else 0
            cookie = self.h.aio_zero(n * SECTOR, off, flags=fua | hole)
        else:
            cookie = self.h.aio_trim(n * SECTOR, off, flags=fua)
        self.pending.append((cookie, i, n, None, kind >= 0.9))

    def ended(self, request):
        """None, or what follows it."""
        cookie, i, n, buf, trimmed = request
        if not self.h.aio_command_completed(cookie):
            return request
        if buf is not None:
            self.model.check(i, buf.to_bytearray(), True)
        elif not trimmed:
            version = self.model.get(i)[1]
            self.model.set(i, n, version, version)
        else:                    # zeroes or as before: see which
            buf = nbd.Buffer(n * SECTOR)
            cookie = self.h.aio_pread(buf, self.base + i * SECTOR)
            return cookie, i, n, buf, False
        return None

    def poll(self):
        self.h.poll(100)
        some = [self.ended(r) for r in self.pending]
        self.pending = [r for r in some if r]

    def run(self, deadline):
        while time.monotonic() < deadline:
            for _ in range(IN_FLIGHT - len(self.pending)):
                self.submit()
            if self.rng.random() < 0.02:
                self.h.aio_flush()
            self.poll()
        while self.pending:
            self.poll()
        self.h.flush()
        self.h.shutdown()


def start_client(args, region, deadline):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect("sock")
    pid = os.fork()
    if pid:
        return pid, (region, sock)
    try:
        Client(args, region, sock).run(deadline)
        os._exit(0)
    except BaseException as e:
        print(f"client {region}: {e}", file=sys.stderr, flush=True)
        os._exit(1)


def hang_up(sock):
    """Returns when the server has done all that the client had asked for."""
    sock.settimeout(60)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(1 << 20):
        pass


def soak(args, server):
    """The clients' exit codes are looked at; those of the killed are not."""
    deadline = time.monotonic() + args.seconds
    rng = random.Random(args.seed)
    clients = dict(start_client(args, i, deadline)
                   for i in range(args.clients))
    killed, failed = set(), 0
    while clients:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == server.pid:
            raise SystemExit(f"the server ended with status {status}")
        if pid:
            region, sock = clients.pop(pid)
            failed += pid not in killed and status != 0
            if pid in killed:
                hang_up(sock)
                new = start_client(args, region, deadline)
                clients[new[0]] = new[1]
            sock.close()
            continue
        time.sleep(0.05)
        if time.monotonic() < deadline and rng.random() < 0.2:
            victim = rng.choice(list(clients))
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
        if time.monotonic() > deadline + 120:
            raise SystemExit("clients do not end")
    print(f"{len(killed)} clients killed, {failed} failed")
    return failed


def make_images(args):
    size = args.clients * REGION
    with open("base.raw", "wb") as f:
        for sector in range(size // SECTOR):
            f.write(sector_bytes(sector, BASE_VERSION))
    with open("model", "wb") as f:
        f.write(PAIR.pack(BASE_VERSION, BASE_VERSION) * (size // SECTOR))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                    "cluster_size=16k", "-b", "base.raw", "-F", "raw",
                    "disk.qcow2"], check=True)


def is_served():
    with socket.socket(socket.AF_UNIX) as probe:
        return not probe.connect_ex("sock")


def start_server(args):
    with open("server.log", "wb") as log:
        server = subprocess.Popen(
            [args.imgd, "-t", "-e", "0", "-f", "qcow2", "--discard=unmap",
             "-k", os.path.abspath("sock"), "disk.qcow2"],
            stdout=log, stderr=log)
    while not is_served():
        if server.poll() is not None:
            raise SystemExit(open("server.log").read())
        time.sleep(0.05)
    return server


def end_server(server):
    server.terminate()
    if server.wait(timeout=120):
        print(open("server.log").read()[-20000:], file=sys.stderr)
        raise SystemExit(f"the server's exit code is {server.returncode}")


def compare(args):
    subprocess.run(["qemu-img", "check", "-q", "disk.qcow2"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", "disk.qcow2",
                    "out.raw"], check=True)
    with open("out.raw", "rb") as f:
        for region in range(args.clients):
            Model("model", region).check(0, f.read(REGION))


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("imgd")
    p.add_argument("--clients", type=int, default=64)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    args.imgd = os.path.abspath(args.imgd)
    with tempfile.TemporaryDirectory(prefix="imgd-soak.") as folder:
        os.chdir(folder)
        make_images(args)
        server = start_server(args)
        try:
            failed = soak(args, server)
            end_server(server)
        finally:
            server.kill()
        compare(args)
        os.chdir("/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

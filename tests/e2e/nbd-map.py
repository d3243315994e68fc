# SPDX-License-Identifier: BSD-3-Clause
"""Print the map of an export as imgctl map --output=json prints an image's.

usage: nbd-map.py SOCKET [LEN]

Speaks NBD with extended headers itself; LEN: ask for so many bytes at a time.
"""
import json
import socket
import struct
import sys

OPT_GO, OPT_SET_META, OPT_EXTENDED = 7, 10, 11
REP_ACK, REP_INFO, REP_META = 1, 3, 4
CMD_STATUS = 7


class Peer:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        assert self.recv(16) == b"NBDMAGICIHAVEOPT"
        self.recv(2)
        self.sock.sendall(struct.pack(">I", 3))

    def recv(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            assert more, "the server has gone"
            data += more
        return data

    def option(self, opt, data=b""):
        """All replies before the ACK: (type, data)."""
        self.sock.sendall(b"IHAVEOPT" + struct.pack(">II", opt, len(data)) +
                          data)
        replies = []
        while True:
            magic, got, kind, n = struct.unpack(">QIII", self.recv(20))
            assert (magic, got) == (0x3e889045565a9, opt)
            data = self.recv(n)
            if kind == REP_ACK:
                return replies
            assert kind < 1 << 31, data
            replies.append((kind, data))

    def status(self, off, length):
        """The extents of the only context: (length, status)."""
        self.sock.sendall(struct.pack(">IHHQQQ", 0x21e41c71, 0, CMD_STATUS,
                                      off, off, length))
        magic, flags, kind, cookie, at, n = struct.unpack(
            ">IHHQQQ", self.recv(32))
        assert (magic, flags, kind, cookie, at) == \
            (0x6e8a278c, 1, 6, off, off), (flags, kind)
        data = self.recv(n)
        count, = struct.unpack(">I", data[4:8])
        assert n == 8 + 16 * count and count
        return struct.iter_unpack(">QQ", data[8:])


def row(start, length, status):
    r = {"start": start, "length": length, "depth": status >> 5 & 0x7ff,
         "present": bool(status & 4), "zero": bool(status & 2),
         "data": bool(status & 1), "compressed": bool(status & 8)}
    if status & 16:
        r["offset"] = status >> 16
    return r


def joins(a, b):
    """Is b what a goes on with?"""
    place = dict(a, start=b["start"], length=b["length"])
    if "offset" in a:
        place["offset"] = a["offset"] + a["length"]
    return place == b


peer = Peer(sys.argv[1])
peer.option(OPT_EXTENDED)
name = b"imgd:map"
found = peer.option(OPT_SET_META,
                    struct.pack(">III", 0, 1, len(name)) + name)
assert [(k, d[4:]) for k, d in found] == [(REP_META, name)]
infos = peer.option(OPT_GO, bytes(6))
size, = [struct.unpack(">Q", d[2:10])[0] for k, d in infos
         if k == REP_INFO and d[:2] == b"\0\0"]
step = int(sys.argv[2]) if len(sys.argv) > 2 else size
rows, off = [], 0
while off < size:
    for length, status in peer.status(off, min(step, size - off)):
        new = row(off, length, status)
        if rows and joins(rows[-1], new):
            rows[-1]["length"] += length
        else:
            rows.append(new)
        off += length
json.dump(rows, sys.stdout)

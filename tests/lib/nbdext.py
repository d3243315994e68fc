# SPDX-License-Identifier: BSD-3-Clause
"""An NBD client with extended headers, which Debian's libnbd does not have."""
import socket
import struct

OPT_GO, OPT_SET_META, OPT_EXTENDED = 7, 10, 11
REP_ACK, REP_INFO, REP_META = 1, 3, 4
CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZERO, CMD_STATUS = 3, 4, 5, 6, 7
FLAG_PAYLOAD = 32


class Peer:
    """Of the server on a Unix socket; self.size after go()."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        assert self.recv(16) == b"NBDMAGICIHAVEOPT"
        self.recv(2)
        self.sock.sendall(struct.pack(">I", 3))
        self.option(OPT_EXTENDED)

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

    def set_context(self, name):
        """Its number."""
        found = self.option(OPT_SET_META,
                            struct.pack(">III", 0, 1, len(name)) + name)
        assert [(k, d[4:]) for k, d in found] == [(REP_META, name)]
        return struct.unpack(">I", found[0][1][:4])[0]

    def go(self):
        infos = self.option(OPT_GO, bytes(6))
        self.size, = [struct.unpack(">Q", d[2:10])[0] for k, d in infos
                      if k == REP_INFO and d[:2] == b"\0\0"]

    def request(self, command, off, length, flags=0, payload=b""):
        """The type and the payload of the only chunk of the reply."""
        self.sock.sendall(struct.pack(">IHHQQQ", 0x21e41c71, flags, command,
                                      off, off, length) + payload)
        magic, flags, kind, cookie, at, n = struct.unpack(
            ">IHHQQQ", self.recv(32))
        assert (magic, flags, cookie, at) == (0x6e8a278c, 1, off, off), flags
        return kind, self.recv(n)

    def status(self, off, length, context=None):
        """The extents of the only context, or of this one: (length, status)."""
        if context is None:
            kind, data = self.request(CMD_STATUS, off, length)
        else:
            kind, data = self.request(CMD_STATUS, off, 12, FLAG_PAYLOAD,
                                      struct.pack(">QI", length, context))
        assert kind == 6, kind
        count, = struct.unpack(">I", data[4:8])
        assert len(data) == 8 + 16 * count and count
        return struct.iter_unpack(">QQ", data[8:])

    def do(self, command, off, length, flags=0):
        """A command that has nothing to say; it must succeed."""
        reply = self.request(command, off, length, flags)
        assert reply == (0, b""), reply

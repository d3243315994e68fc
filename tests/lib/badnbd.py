#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""NBD servers that do one thing wrong each.

usage: badnbd.py WHAT...

Each listens on a Unix socket WHAT.sock.  It serves 1 MiB: 64 KiB of 0x55, a
hole, and so on.  Writes are kept.  WHAT is one of the names below; `nothing` is
a good server.
"""
import os
import socket
import struct
import sys
import threading
import time

SIZE = 1 << 20
PIECE = 1 << 16
OPT_EXPORT_NAME, OPT_ABORT, OPT_GO, OPT_STRUCTURED, OPT_SET_META = 1, 2, 7, 8, 10
REP_ACK, REP_INFO, REP_META = 1, 3, 4
REP_UNSUP = 0x80000001
READ, WRITE, DISC, FLUSH, TRIM, ZERO, STATUS = 0, 1, 2, 3, 4, 6, 7
EIO = 5


class Gone(Exception):
    pass


class Connection:
    def __init__(self, server, sock):
        server.connections += 1
        self.server = server
        self.sock = sock
        self.number = server.connections
        self.structured = False

    def get(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise Gone
            data += more
        return data

    def put(self, *parts):
        self.sock.sendall(b"".join(parts))

    # ---- handshake

    def option_reply(self, opt, kind, data=b""):
        self.put(struct.pack(">QIII", 0x3e889045565a9, opt, kind, len(data)),
                 data)

    def go(self, opt):
        what = self.server.what
        size, flags = SIZE, 0x1 | 0x4 | 0x8 | 0x20 | 0x40
        low, best, high = 1, 4096, 1 << 25
        if what == "size-max":
            size = (1 << 64) - 1
        if what == "size-huge":
            size = 1 << 63
        if what == "size-zero":
            size = 0
        if what == "read-only-later" and self.number > 1:
            flags |= 0x2
        if what == "flush-not-later" and self.number > 1:
            flags &= ~0x4
        if what == "size-changes":
            size = SIZE * self.number
        if what == "block-odd":
            low = 3
        if what == "block-huge":
            low = 1 << 30
        if what == "block-inverted":
            low, high = 65536, 512
        if what == "block-unaligned-size":
            low, size = 4096, SIZE - 512
        if what in ("only-fua", "only-fua-close"):
            flags = 0x1 | 0x8 | 0x40
        self.option_reply(opt, REP_INFO, struct.pack(">HQH", 0, size, flags))
        self.option_reply(opt, REP_INFO,
                          struct.pack(">HIII", 3, low, best, high))
        self.option_reply(opt, REP_ACK)

    def handshake(self):
        what = self.server.what
        if what == "close-at-once":
            raise Gone
        if what == "silent":
            time.sleep(60)
        if what == "garbage":
            self.put(os.urandom(1000))
            time.sleep(1)
            raise Gone
        self.put(b"NBDMAGIC", b"IHAVEOPT", struct.pack(">H", 3))
        if what == "close-after-magic":
            raise Gone
        self.get(4)
        while True:
            _, opt, n = struct.unpack(">8sII", self.get(16))
            data = self.get(n)
            if opt == OPT_ABORT:
                self.option_reply(opt, REP_ACK)
                raise Gone
            if what == "option-garbage":
                self.put(os.urandom(20))
            elif what == "option-huge":
                self.put(struct.pack(">QIII", 0x3e889045565a9, opt, REP_INFO,
                                     0xffffffff))
            elif opt == OPT_GO:
                self.go(opt)
                return
            elif opt == OPT_STRUCTURED and what != "simple":
                self.structured = True
                self.option_reply(opt, REP_ACK)
            elif opt == OPT_SET_META and self.structured:
                self.option_reply(opt, REP_META,
                                  struct.pack(">I", 77) + b"base:allocation")
                if what.startswith("depth-"):
                    self.option_reply(opt, REP_META, struct.pack(">I", 78) +
                                      b"qemu:allocation-depth")
                self.option_reply(opt, REP_ACK)
            else:
                self.option_reply(opt, REP_UNSUP)

    # ---- requests

    def chunk(self, cookie, kind, data, done=True):
        self.put(struct.pack(">IHHQI", 0x668e33ef, int(done), kind, cookie,
                             len(data)), data)

    def simple(self, cookie, error=0, data=b""):
        self.put(struct.pack(">IIQ", 0x67446698, error, cookie), data)

    def reply_error(self, cookie, error):
        if self.structured:
            self.chunk(cookie, 32769, struct.pack(">IH", error, 0))
        else:
            self.simple(cookie, error)

    def read(self, cookie, off, n):
        what = self.server.what
        content = self.server.content
        data = bytes(content[off:off + n])
        if what == "read-error":
            self.reply_error(cookie, EIO)
        elif what == "read-short":
            self.put(struct.pack(">IHHQI", 0x668e33ef, 1, 1, cookie, n + 8),
                     struct.pack(">Q", off), data[:n // 2])
            raise Gone
        elif what == "read-nothing":
            self.chunk(cookie, 0, b"")
        elif what == "read-elsewhere":
            self.chunk(cookie, 1, struct.pack(">Q", off + n) + data)
        elif what == "read-too-much":
            self.chunk(cookie, 1, struct.pack(">Q", off) + data + data)
        elif what == "read-hole-outside":
            self.chunk(cookie, 2, struct.pack(">QI", off, n * 2))
        elif what == "read-hole-zero":
            self.chunk(cookie, 2, struct.pack(">QI", off, 0))
        elif what == "read-twice":
            self.chunk(cookie, 1, struct.pack(">Q", off) + data, False)
            self.chunk(cookie, 1, struct.pack(">Q", off) + data)
        elif what == "wrong-cookie":
            self.chunk(cookie + 1, 1, struct.pack(">Q", off) + data)
        elif what == "huge-chunk":
            self.put(struct.pack(">IHHQI", 0x668e33ef, 1, 1, cookie,
                                 0xffffffff))
        elif what == "reply-garbage":
            self.put(os.urandom(64))
        elif what == "read-silent":
            time.sleep(60)
        elif self.structured:
            self.chunk(cookie, 1, struct.pack(">Q", off) + data)
        else:
            self.simple(cookie, 0, data)

    def true_extents(self, off, n):
        content = self.server.content
        end = min(off + n, SIZE)
        while off < end:
            here = min(end, (off // PIECE + 1) * PIECE)
            hole = not any(content[off:here])
            yield here - off, 3 if hole else 0
            off = here

    # The first half is of the second layer, the rest of none.
    def depth(self, cookie, off, n):
        what = self.server.what
        half = max(0, min(n, SIZE // 2 - off))
        extents = [(half, 2), (n - half, 0)]
        if what == "depth-short":
            extents = [(min(n, 3 * PIECE // 2), 2)]
        if what == "depth-empty":
            extents = []
        if what == "depth-huge":
            extents = [(0xffffffff, 0xffffffff)]
        data = struct.pack(">I", 78)
        for len_, depth in extents:
            if len_ or what == "depth-zero-length":
                data += struct.pack(">II", len_, depth)
        self.chunk(cookie, 5, data, False)

    def status(self, cookie, off, n):
        what = self.server.what
        extents = list(self.true_extents(off, n))
        if what.startswith("depth-") and what != "depth-missing":
            self.depth(cookie, off, n)
        context = 77
        if what == "status-error":
            return self.reply_error(cookie, EIO)
        if what == "status-empty":
            extents = []
        if what == "status-zero-length":
            extents = [(0, 3)] + extents
        if what == "status-zero-length-later":
            extents = extents[:1] + [(0, 3)] + extents[1:]
        if what == "status-beyond":
            extents = [(0xffffffff, 0), (0xffffffff, 3), (0xffffffff, 0)]
        if what == "status-flags":
            extents = [(n, f | 0xfffffffc) for n, f in extents]
        if what == "status-context":
            context = 78
        data = struct.pack(">I", context)
        for len_, flags in extents:
            data += struct.pack(">II", len_, flags)
        if what == "status-half":
            data = data[:-4]
        self.chunk(cookie, 5, data)

    def change(self, cookie, kind, flags, off, n, data):
        what = self.server.what
        content = self.server.content
        if what == "write-error":
            return self.reply_error(cookie, EIO)
        if what == "zero-unsupported" and kind == ZERO:
            return self.reply_error(cookie, 95)
        if what == "write-full":
            return self.reply_error(cookie, 28)
        if what in ("only-fua", "only-fua-close") and not flags & 1:
            return self.reply_error(cookie, 22)
        if kind == WRITE:
            content[off:off + n] = data
        elif kind == ZERO:
            content[off:off + n] = bytes(n)
        self.done(cookie)

    def done(self, cookie):
        if self.structured:
            self.chunk(cookie, 0, b"")
        else:
            self.simple(cookie)

    def serve(self):
        what = self.server.what
        while True:
            magic, flags, kind, cookie, off, n = struct.unpack(
                ">IHHQQI", self.get(28))
            data = self.get(n) if kind == WRITE else b""
            self.server.requests += 1
            if kind == DISC:
                raise Gone
            if what in ("close-first", "close-first-again") and self.number < 3:
                raise Gone
            if what == "close-always" and kind == READ:
                raise Gone
            if what in ("size-changes", "read-only-later", "flush-not-later") \
                    and kind == READ:
                raise Gone
            if what == "close-flushed" and kind == WRITE and \
                    self.server.flushed and self.number == 1:
                raise Gone
            if what == "close-flush" and kind == FLUSH and self.number == 1:
                raise Gone
            self.server.flushed |= kind == FLUSH
            if what in ("close-writes", "close-writes-again",
                        "only-fua-close") and kind == WRITE and \
                    self.number == 1 and self.server.requests > 6:
                raise Gone
            if kind == READ:
                self.read(cookie, off, n)
            elif kind == STATUS:
                self.status(cookie, off, n)
            elif kind == FLUSH:
                if what in ("flush-error", "only-fua"):
                    self.reply_error(cookie, EIO)
                else:
                    self.done(cookie)
            else:
                self.change(cookie, kind, flags, off, n, data)

    def run(self):
        try:
            self.handshake()
            self.serve()
        except (Gone, OSError):
            pass
        self.sock.close()


class Server:
    def __init__(self, what):
        self.what = what
        self.connections = self.requests = 0
        self.flushed = False
        self.content = bytearray()
        for i in range(SIZE // PIECE):
            self.content += bytes([0x55 * (1 - i % 2)]) * PIECE
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(what + ".sock")
        self.listener.listen(16)

    def run(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=Connection(self, sock).run,
                             daemon=True).start()


def main():
    servers = [Server(what) for what in sys.argv[1:]]
    open("ready", "w").close()
    for server in servers[1:]:
        threading.Thread(target=server.run, daemon=True).start()
    servers[0].run()


main()

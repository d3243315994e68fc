# SPDX-License-Identifier: BSD-3-Clause
"""
Make a dmg (UDIF) image of a disk:

    udif.py OUT DISK [--chunk=SECTORS] [--types=zlib,adc,...] [--parts=N]
        [--own-data] [--fork] [--trailer-first] [--ignore] [--gap=SECTOR:N]

Chunks take the types in turn.  Chunks of zeroes are of the type "zero"; with
--ignore, "ignore".  --parts: so many block tables; with --own-data,
each has the offset of its own data.
--fork: in a resource fork.  --gap: N sectors that no chunk has.
"""
import argparse
import bz2
import lzma
import os
import plistlib
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lzfse

TYPES = {
    "raw": (1, bytes),
    "adc": (0x80000004, lzfse.adc),
    "zlib": (0x80000005, zlib.compress),
    "bzip2": (0x80000006, bz2.compress),
    "bvx1": (0x80000007, lzfse.bvx1),
    "bvx2": (0x80000007, lzfse.bvx2),
    "lzvn": (0x80000007, lzfse.lzvn),
    "plain": (0x80000007, lzfse.plain),
    "mixed": (0x80000007, lzfse.mixed),
    "xz": (0x80000008, lzma.compress),
}


def checksum(crc):
    return struct.pack(">III", 2, 32, crc) + bytes(124)


class Image:
    def __init__(self, args, disk):
        self.args, self.disk = args, disk
        self.types = args.types.split(",")
        self.gap = range(*args.gap) if args.gap else range(0)
        self.data, self.tables, self.turn = bytearray(), [], 0

    def chunk(self, first, n, start, base):
        """One entry of a table; the data goes to the data fork."""
        content = self.disk[first * 512:(first + n) * 512]
        if not any(content):
            entry = 2 if self.args.ignore else 0, b""
        else:
            kind, pack = TYPES[self.types[self.turn % len(self.types)]]
            self.turn += 1
            entry = kind, pack(content)
            if entry[0] != 2:
                self.crc = zlib.crc32(content, self.crc)
        if entry[0] == 0:
            self.crc = zlib.crc32(content, self.crc)
        out = struct.pack(">IIQQQQ", entry[0], 0, first - start, n,
                          len(self.data) - base, len(entry[1]))
        self.data += entry[1]
        return out

    def table(self, start, end):
        base = len(self.data) if self.args.own_data else 0
        self.crc, chunks = 0, []
        for first in range(start, end, self.args.chunk):
            n = min(self.args.chunk, end - first)
            if first not in self.gap:
                chunks.append(self.chunk(first, n, start, base))
            if len(chunks) == 1:
                chunks.append(struct.pack(
                    ">I4sQQQQ", 0x7ffffffe, b"+beg", first + n - start, 0,
                    len(self.data) - base, 0))
        chunks.append(struct.pack(">IIQQQQ", 0xffffffff, 0, end - start, 0,
                                  len(self.data) - base, 0))
        self.tables.append((struct.pack(
            ">4sIQQQII24x", b"mish", 1, start, end - start, base,
            self.args.chunk + 8, len(self.tables)) + checksum(self.crc) +
            struct.pack(">I", len(chunks)) + b"".join(chunks), self.crc))

    def property_list(self):
        items = [{"Attributes": "0x0050", "CFName": "part %d" % i, "Data": t,
                  "ID": str(i), "Name": "part %d" % i}
                 for i, (t, _) in enumerate(self.tables)]
        return plistlib.dumps({"resource-fork": {
            "blkx": items,
            "plst": [{"Attributes": "0x0050", "Data": bytes(32), "ID": "0",
                      "Name": ""}]}})

    def resource_fork(self):
        data, refs = b"", b""
        for i, (t, _) in enumerate(self.tables):
            refs += struct.pack(">hHII", i, 0xffff, len(data), 0)
            data += struct.pack(">I", len(t)) + t
        plst = struct.pack(">hHII", 0, 0xffff, len(data), 0)
        data += struct.pack(">I", 4) + b"plst"
        types = struct.pack(">H4sHH4sHH", 1, b"plst", 0, 18 + len(refs),
                            b"blkx", len(self.tables) - 1, 18)
        fork_map = bytes(24) + struct.pack(">HH", 28, 28 + len(types) +
                                           len(refs) + 12)
        fork_map += types + refs + plst
        head = struct.pack(">IIII", 256, 256 + len(data), len(data),
                           len(fork_map))
        return head.ljust(256, b"\0") + data + fork_map

    def write(self, out):
        sectors = len(self.disk) // 512
        step = -(-sectors // self.args.parts)
        for start in range(0, sectors, step):
            self.table(start, min(start + step, sectors))
        begin = 512 if self.args.trailer_first else 0
        fork = self.resource_fork() if self.args.fork else b""
        text = b"" if self.args.fork else self.property_list()
        end = begin + len(self.data)
        crc = zlib.crc32(b"".join(struct.pack(">I", c)
                                  for _, c in self.tables))
        trailer = struct.pack(
            ">4sIIIQQQQQII16s", b"koly", 4, 512, 1, 0, begin, len(self.data),
            end if fork else 0, len(fork), 1, 1, bytes(range(16)))
        trailer += checksum(zlib.crc32(self.data))
        trailer += struct.pack(">QQ", end if text else 0, len(text))
        trailer += bytes(120) + checksum(crc)
        trailer += struct.pack(">IQ", 1, sectors) + bytes(12)
        if begin:
            out.write(trailer)
        out.write(self.data + fork + text)
        if not begin:
            out.write(trailer)


def main():
    def pair(text):
        first, n = map(int, text.split(":"))
        return first, first + n
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("disk")
    p.add_argument("--chunk", type=int, default=512)
    p.add_argument("--types", default="zlib")
    p.add_argument("--parts", type=int, default=1)
    p.add_argument("--own-data", action="store_true")
    p.add_argument("--fork", action="store_true")
    p.add_argument("--trailer-first", action="store_true")
    p.add_argument("--ignore", action="store_true")
    p.add_argument("--gap", type=pair)
    args = p.parse_args()
    with open(args.disk, "rb") as f:
        disk = f.read()
    with open(args.out, "wb") as f:
        Image(args, disk).write(f)


if __name__ == "__main__":
    main()

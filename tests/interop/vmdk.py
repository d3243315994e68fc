#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""
VMDK files apart from our own code, from VMware's "Virtual Disk Format 5.0".

	walk FILE	follow the markers of a stream-optimized image from its
			first grain to its end, and hold them against its
			footer, directory and tables
	make KIND FILE RAW
			an image of a kind that nothing here writes (cowd,
			sesparse, small, smallstream, unclosed), with what RAW
			has
"""
import struct
import sys
import zlib

SECTOR = 512
GD_AT_END = 2**64 - 1
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")


def fail(text):
    sys.exit(f"{sys.argv[2]}: {text}")


def need(truth, text):
    if not truth:
        fail(text)


# ---- walking a stream -------------------------------------------------------


class Stream:
    def __init__(self, data):
        self.data = data
        self.head = HEADER.unpack_from(data, 0)
        (magic, self.version, flags, self.capacity, self.grain, desc, desc_n,
         self.gtes, rgd, gd, self.overhead, unclean, lines, algo) = self.head
        need(magic == b"KDMV" and self.version == 3, "magic or version")
        need(flags & 0x30001 == 0x30001, "flags: compressed, markers")
        need(flags & 2 == 0 and rgd == 0, "no redundant tables in a stream")
        need(gd == GD_AT_END, "the header names a directory")
        need(unclean == 0, "not closed")
        need(lines == b"\n \r\n" and algo == 1, "line ends, algorithm")
        need(desc == 1 and desc + desc_n <= self.overhead, "descriptor")
        need(len(data) % SECTOR == 0, "length of the file")
        self.text = data[SECTOR:][:desc_n * SECTOR].rstrip(b"\0").decode()
        need('createType="streamOptimized"' in self.text, "create type")
        need(any(f"\n{access} {self.capacity} SPARSE" in self.text
                 for access in ("RDONLY", "RW")), "extent line")
        self.grains = {}
        self.tables = []  # (sector of the table, its grains so far)

    def take_grain(self, at, lba, size):
        need(lba % self.grain == 0 and lba < self.capacity, f"LBA {lba}")
        unpacker = zlib.decompressobj()
        grain = unpacker.decompress(self.data[at + 12:at + 12 + size])
        need(unpacker.eof and not unpacker.unused_data, f"{lba}: stream")
        need(len(grain) == self.grain * SECTOR, f"{lba}: length")
        need(not self.grains or lba > max(self.grains), f"{lba}: order")
        self.grains[lba] = at // SECTOR
        end = at + (12 + size + SECTOR - 1) // SECTOR * SECTOR
        need(not any(self.data[at + 12 + size:end]), f"{lba}: padding")
        return end

    def take_table(self, at, sectors):
        need(sectors == self.gtes * 4 // SECTOR, "sectors of a grain table")
        self.tables.append((at // SECTOR + 1, dict(self.grains)))
        return at + (1 + sectors) * SECTOR

    def take_directory(self, at, sectors):
        n = -(-self.capacity // (self.grain * self.gtes))
        need(sectors == -(-n * 4 // SECTOR), "sectors of the directory")
        self.gd = at // SECTOR + 1
        self.entries = struct.unpack_from(f"<{n}I", self.data, at + SECTOR)
        return at + (1 + sectors) * SECTOR

    def take_footer(self, at, sectors):
        need(sectors == 1 and at + 3 * SECTOR == len(self.data), "footer")
        foot = HEADER.unpack_from(self.data, at + SECTOR)
        need(foot[9] == self.gd, "the footer names another directory")
        need(foot[:9] + foot[10:] == self.head[:9] + self.head[10:],
             "the footer is not as the header")
        return at + 2 * SECTOR

    def walk(self):
        take = {1: self.take_table, 2: self.take_directory,
                3: self.take_footer}
        at, last = self.overhead * SECTOR, None
        while True:
            value, size, kind = struct.unpack_from("<QII", self.data, at)
            if size:
                need(last in (None, 0, 1), "a grain behind the directory")
                at = self.take_grain(at, value, size)
                last = 0
                continue
            need(not any(self.data[at + 16:at + SECTOR]), "marker: padding")
            if kind == 0:
                break
            need(kind in take, f"marker {kind} at {at}")
            need(kind == 1 or last in (None, 1) or kind == last + 1, "order")
            at = take[kind](at, value)
            last = kind
        need(last == 3 and value == 0, "no footer before the end")
        need(at + SECTOR == len(self.data), "bytes behind the end")

    def check_tables(self):
        span, seen = self.gtes * self.grain, {}
        before = dict(self.tables)
        for i, sector in enumerate(self.entries):
            if not sector:
                continue
            need(sector in before, f"directory entry {i}: no marker there")
            table = struct.unpack_from(
                f"<{self.gtes}I", self.data, sector * SECTOR)
            for j, where in enumerate(table):
                if where:
                    seen[i * span + j * self.grain] = where
                    need(i * span + j * self.grain in before[sector],
                         f"table {i} stands before its grains")
        need(seen == self.grains, "tables and markers do not agree")


def walk(path):
    with open(path, "rb") as f:
        stream = Stream(f.read())
    stream.walk()
    stream.check_tables()
    print(f"{len(stream.grains)} grains, {len(stream.tables)} tables")


# ---- making -------------------------------------------------------------------


def pad(data, unit=SECTOR):
    return data + bytes(-len(data) % unit)


def header(capacity, grain, version=1, flags=3, gtes=512, rgd=0, gd=0,
           overhead=0, desc_n=0, unclean=0, algo=0):
    return pad(HEADER.pack(b"KDMV", version, flags, capacity, grain, 1 if
                           desc_n else 0, desc_n, gtes, rgd, gd, overhead,
                           unclean, b"\n \r\n", algo))


def descriptor(kind, line):
    return pad((f"# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                f"parentCID=ffffffff\ncreateType=\"{kind}\"\n\n{line}\n"
                ).encode())


def pieces(raw, size):
    for i in range(0, len(raw), size):
        piece = raw[i:i + size]
        if any(piece):
            yield i // size, piece.ljust(size, b"\0")


def make_small(raw):
    """Grains of 4 KiB, so that a small disk has several tables."""
    grain, capacity = 8, len(raw) // SECTOR
    gts = -(-capacity // (grain * 512))
    need(gts <= 128, "too large")
    gd, rgd, gt = 2, 3, 4
    overhead = -(-(gt + gts * 8) // grain) * grain
    table = [0] * 512 * gts
    data = bytearray()
    for i, piece in pieces(raw, grain * SECTOR):
        table[i] = overhead + len(data) // SECTOR
        data += piece
    out = header(capacity, grain, rgd=rgd, gd=gd, overhead=overhead, desc_n=1)
    out += descriptor("monolithicSparse", f"RW {capacity} SPARSE \"x.vmdk\"")
    for first in (gt, gt + gts * 4):
        out += pad(struct.pack(f"<{gts}I", *range(first, first + gts * 4, 4)))
    both = struct.pack(f"<{len(table)}I", *table)
    return pad(out + both + both, grain * SECTOR) + data


def make_stream(raw, closed=True):
    grain, capacity = 8, len(raw) // SECTOR
    gts = -(-capacity // (grain * 512))
    flags = 0x30001
    out = header(capacity, grain, version=3, flags=flags, gd=GD_AT_END,
                 overhead=8, desc_n=1, unclean=not closed, algo=1)
    out += descriptor(
        "streamOptimized", f"RDONLY {capacity} SPARSE \"x.vmdk\"")
    out = pad(out, 8 * SECTOR)
    tables = [[0] * 512 for _ in range(gts)]
    directory = [0] * gts
    last = None

    def put_table(out):
        if last is None:
            return out
        directory[last] = len(out) // SECTOR + 1
        return out + pad(struct.pack("<QII", 4, 0, 1)) + struct.pack(
            "<512I", *tables[last])

    for i, piece in pieces(raw, grain * SECTOR):
        if i // 512 != last:
            out = put_table(out)
            last = i // 512
        tables[last][i % 512] = len(out) // SECTOR
        packed = zlib.compress(piece)
        out += pad(struct.pack("<QI", i * grain, len(packed)) + packed)
    if not closed:
        return out + b"\xff" * 700
    out = put_table(out)
    gd = pad(struct.pack(f"<{gts}I", *directory))
    where = len(out) // SECTOR + 1
    out += pad(struct.pack("<QII", len(gd) // SECTOR, 0, 2)) + gd
    out += pad(struct.pack("<QII", 1, 0, 3))
    out += header(capacity, grain, version=3, flags=flags, gd=where,
                  overhead=8, desc_n=1, algo=1)
    return out + bytes(SECTOR)


def make_cowd(raw):
    grain, capacity, gtes = 16, len(raw) // SECTOR, 4096
    gts = -(-capacity // (grain * gtes))
    gd, gt = 4, 5
    first = gt + gts * gtes * 4 // SECTOR
    table, data = [0] * gtes * gts, bytearray()
    for i, piece in pieces(raw, grain * SECTOR):
        table[i] = first + len(data) // SECTOR
        data += piece
    out = struct.pack("<4sIIIIIII", b"COWD", 1, 3, capacity, grain, gd, gts,
                      first + len(data) // SECTOR)
    out = out.ljust(gd * SECTOR, b"\0")
    step = gtes * 4 // SECTOR
    out += pad(struct.pack(f"<{gts}I", *range(gt, gt + gts * step, step)))
    return out + struct.pack(f"<{len(table)}I", *table) + data


def make_sesparse(raw):
    grain, capacity, gtes = 8, len(raw) // SECTOR, 4096
    gts = -(-capacity // (grain * gtes))
    volatile, gd, tables = 1, 2, 3
    grains = tables + gts * 64
    data, n = bytearray(), 0
    table = [0x2000000000000000] * gtes * gts
    for i, piece in pieces(raw, grain * SECTOR):
        table[i] = 3 << 60 | (n & 0xfff) << 48 | n >> 12
        data += piece
        n += 1
    out = pad(struct.pack("<26Q", 0xcafebabe, 0x200000001, capacity, grain,
                          64, 0, 0, 0, 0, 0, volatile, 1, 0, 0, 0, 0, gd, 1,
                          tables, gts * 64, 0, 0, 0, 0, grains, n * grain))
    out += pad(struct.pack("<4Q", 0xcafecafe, 0, 0, 0))
    out += pad(struct.pack(f"<{gts}Q", *(1 << 60 | i for i in range(gts))))
    return out + struct.pack(f"<{len(table)}Q", *table) + data


MAKERS = {
    "small": make_small,
    "smallstream": make_stream,
    "unclosed": lambda raw: make_stream(raw, closed=False),
    "cowd": make_cowd,
    "sesparse": make_sesparse,
}


def make(kind, path, raw):
    with open(raw, "rb") as f:
        image = MAKERS[kind](f.read())
    with open(path, "wb") as f:
        f.write(image)


def main(argv):
    if argv[1] == "walk":
        walk(argv[2])
    else:
        make(argv[2], argv[3], argv[4])


main(sys.argv)

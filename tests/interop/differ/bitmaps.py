# SPDX-License-Identifier: BSD-3-Clause
"""The persistent bitmaps of a qcow2 file, as its specification lays them out.

read() gives a list of (name, granularity, flags, dirty ranges).
"""
import struct

MAGIC = 0x514649FB
EXT_END, EXT_BITMAPS = 0, 0x23852875
IN_USE = 1


def directory_place(f):
    """Offset, length and number of entries of the directory; or None."""
    f.seek(0)
    head = f.read(104)
    magic, version = struct.unpack_from(">II", head)
    if magic != MAGIC or version < 3:
        return None
    autoclear, = struct.unpack_from(">Q", head, 88)
    pos, = struct.unpack_from(">I", head, 100)
    while autoclear & 1:
        f.seek(pos)
        kind, length = struct.unpack(">II", f.read(8))
        if kind == EXT_END:
            return None
        if kind == EXT_BITMAPS:
            count, _, size, offset = struct.unpack(">IIQQ", f.read(24))
            return offset, size, count
        pos += 8 + -(-length // 8) * 8
    return None


def ranges(bits, granularity, size):
    """Dirty ranges [start, end) of the disk, from an iterator of bits."""
    out = []
    for i, bit in enumerate(bits):
        start, end = i * granularity, min((i + 1) * granularity, size)
        if start >= size:
            break
        if not bit:
            continue
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def table_bits(f, table, cluster):
    for entry in table:
        offset = entry & 0x00FFFFFFFFFFFE00
        if offset:
            f.seek(offset)
            data = f.read(cluster).ljust(cluster, b"\0")
        else:
            data = (b"\xff" if entry & 1 else b"\0") * cluster
        for byte in data:
            for bit in range(8):
                yield byte >> bit & 1


def read(path):
    with open(path, "rb") as f:
        place = directory_place(f)
        if not place:
            return []
        f.seek(20)
        cluster = 1 << struct.unpack(">I", f.read(4))[0]
        size, = struct.unpack(">Q", f.read(8))
        f.seek(place[0])
        directory = f.read(place[1])
        out, pos = [], 0
        for _ in range(place[2]):
            (offset, table_n, flags, _, bits, name_len,
             extra) = struct.unpack_from(">QIIBBHI", directory, pos)
            name = directory[pos + 24 + extra:][:name_len].decode()
            pos += -(-(24 + extra + name_len) // 8) * 8
            f.seek(offset)
            table = struct.unpack(f">{table_n}Q", f.read(8 * table_n))
            dirty = (None if flags & IN_USE else
                     ranges(table_bits(f, table, cluster), 1 << bits, size))
            out.append((name, 1 << bits, flags, dirty))
        return out

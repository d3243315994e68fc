# SPDX-License-Identifier: BSD-3-Clause
"""Damage a qcow2 file: python3 damage.py FILE FRACTION VALUE

The reference count of the cluster that lies at that fraction of the file
becomes VALUE.
"""
import os
import struct
import sys


def damage(path, fraction, value):
    with open(path, "r+b") as f:
        head = f.read(104).ljust(104, b"\0")
        version, = struct.unpack_from(">I", head, 4)
        cluster = 1 << struct.unpack_from(">I", head, 20)[0]
        table, = struct.unpack_from(">Q", head, 48)
        order = struct.unpack_from(">I", head, 96)[0] if version >= 3 else 4
        bits = 1 << order
        clusters_n = -(-os.fstat(f.fileno()).st_size // cluster)
        at = min(int(fraction * clusters_n), clusters_n - 1)
        block_ix, ix = divmod(at, cluster * 8 // bits)
        f.seek(table + 8 * block_ix)
        block, = struct.unpack(">Q", f.read(8))
        if not block:
            return
        pos = block + ix * bits // 8
        f.seek(pos)
        if bits >= 8:
            new = value.to_bytes(bits // 8, "big")
        else:
            shift = ix * bits % 8
            mask = ((1 << bits) - 1) << shift
            old = f.read(1)[0]
            new = bytes([old & ~mask | value << shift & mask])
        f.seek(pos)
        f.write(new)


if __name__ == "__main__":
    damage(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))

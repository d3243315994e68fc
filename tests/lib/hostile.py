# SPDX-License-Identifier: BSD-3-Clause
"""
hostile.py FORMAT...

Make images of these formats whose headers claim what is extreme, each in a file
of the current folder.  Prints, for each, a line

    FILE FORMAT SIZE CHECK TEXT

SIZE: of the disk, or "refused"; CHECK: the exit code of a check; TEXT: what is
in the message where the image is refused or the check fails, in parts with " & "
between them; after a " @ ", what is in the message of a copy.
"""
import bz2
import hashlib
import lzma
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hostile_qcow2
import hostile_vhdx

GiB = 1 << 30
made = []


def put(name, fmt, size, check, text, parts, length=0):
    """parts: pairs of an offset and bytes; the rest is a hole."""
    with open(name, "wb") as f:
        for at, data in parts:
            f.seek(at)
            f.write(data)
        f.truncate(max(length, f.seek(0, os.SEEK_END)))
    made.append(f"{name} {fmt} {size} {check} {text}")


def refused(name, fmt, text, parts, length=0):
    put(name, fmt, "refused", 1, text, parts, length)


# ---- VDI --------------------------------------------------------------------

def vdi(size=4 << 20, block=1 << 20, blocks=4, map_at=512, data=1 << 20,
        lead=0):
    h = bytearray(512)
    struct.pack_into("<IIII", h, 64, 0xbeda107f, 0x10001, 400, 1)
    struct.pack_into("<II", h, 340, map_at, data)
    struct.pack_into("<I", h, 360, 512)
    struct.pack_into("<QIIII", h, 368, size, block, lead, blocks, 0)
    return 0, bytes(h)


def make_vdi():
    for block in 0, 1, 1 << 31:
        refused(f"block-{block}.vdi", "vdi", f"block size {block} ",
                [vdi(block=block)], 2 << 20)
    refused("size.vdi", "vdi", "a disk of 9223372036854774784 bytes",
            [vdi(size=(1 << 63) - 1024)], 2 << 20)
    refused("map-far.vdi", "vdi", "does not lie between",
            [vdi(blocks=0xffffffff)], 2 << 20)
    refused("map-on-header.vdi", "vdi", "does not lie between",
            [vdi(map_at=0)], 2 << 20)
    n = 1 << 20
    put("same.vdi", "vdi", n << 20, 1, "more than", [
        vdi(size=n << 20, blocks=n, data=8 << 20)], 9 << 20)


# ---- VHD --------------------------------------------------------------------

def sealed(h, at):
    struct.pack_into(">I", h, at, 0)
    struct.pack_into(">I", h, at, ~sum(h) & 0xffffffff)
    return bytes(h)


def vhd(size=8 << 20, kind=3, block=2 << 20, blocks=4, bat=1536, head=512,
        locator=None):
    f = bytearray(512)
    struct.pack_into(">8sIIQI4sI4sQQHBBI", f, 0, b"conectix", 2, 0x10000, head,
                     0, b"qem2", 0x50003, b"Wi2k", size, size, 65535, 16, 255,
                     kind)
    h = bytearray(1024)
    struct.pack_into(">8sQQIII", h, 0, b"cxsparse", (1 << 64) - 1, bat,
                     0x10000, blocks, block)
    if locator:
        struct.pack_into(">IIIIQ", h, 576, *locator)
    return [(0, sealed(f, 64)), (head, sealed(h, 36))]


def make_vhd():
    for block in 0, 1:
        refused(f"block-{block}.vhd", "vpc", f"block size {block}:",
                vhd(block=block), 4 << 20)
    refused("block-31.vhd", "vpc", "allowed are 256 MiB each",
            vhd(block=1 << 31), 4 << 20)
    refused("table.vhd", "vpc", "4294967295 blocks: allowed are 536870912",
            vhd(size=1 << 40, block=512, blocks=0xffffffff), 17 * GiB)
    refused("table-far.vhd", "vpc", "is not in the file",
            vhd(bat=(1 << 64) - 512), 4 << 20)
    n = 1 << 16
    put("same.vhd", "vpc", 2040 << 30, 1, "more than", vhd(
        size=2040 << 30, block=256 << 20, blocks=n) +
        [(1536, struct.pack(">I", 4096) * n)], 300 << 20)
    put("far.vhd", "vpc", 2040 << 30, 2, "", vhd(
        size=2040 << 30, block=256 << 20, blocks=n) +
        [(1536, struct.pack(">I", 0xfffffff0) * n)], 4 << 20)
    put("locator.vhd", "vpc", 8 << 20, 3, "", vhd(
        locator=(1, 0xffffffff, 0xffffffff, 0, 0)) +
        [(1536, b"\xff" * 16)], 4 << 20)


# ---- Parallels ---------------------------------------------------------------

def parallels(sectors=8192, cluster=2048, blocks=4, in_use=0, ext=0):
    return 0, struct.pack("<16sIIIIIQIIIQ", b"WithouFreSpacExt", 2, 16, 4,
                          cluster, blocks, sectors, in_use, 0, 0, ext)


def make_parallels():
    refused("cluster-0.hds", "parallels", "Zero sectors", [parallels(
        cluster=0)])
    refused("cluster-31.hds", "parallels", "clusters of 2147483648 sectors",
            [parallels(cluster=1 << 31)])
    refused("table.hds", "parallels",
            "4294967295 blocks: allowed are 536870912",
            [parallels(blocks=0xffffffff)], 17 * GiB)
    refused("table-far.hds", "parallels", "does not fit in the file",
            [parallels(blocks=0xffffffff)])
    refused("size.hds", "parallels", "does not fit in 4 clusters",
            [parallels(sectors=(1 << 64) - 1)])
    n = 1 << 20
    bat = 64, struct.pack("<I", 5) * n
    put("same.hds", "parallels", n << 20, 1, "more than",
        [parallels(sectors=n << 11, blocks=n), bat], 8 << 20)
    put("same-in-use.hds", "parallels", n << 20, 1, "more than",
        [parallels(sectors=n << 11, blocks=n, in_use=0x746f6e59), bat],
        8 << 20)
    put("extension.hds", "parallels", 4 << 20, 1, "extension of 268435456",
        [parallels(cluster=1 << 19, in_use=0x312e3276, ext=1 << 19)], GiB)


# ---- QED, QCOW ---------------------------------------------------------------

def qed(size=1 << 20, cluster=65536, table=1, head=1, l1=65536):
    return 0, struct.pack("<4sIIIQQQQQII", b"QED\0", cluster, table, head, 0,
                          0, 0, l1, size, 0, 0)


def make_qed():
    for cluster in 0, 1, 1 << 31:
        refused(f"cluster-{cluster}.qed", "qed", f"cluster size {cluster}:",
                [qed(cluster=cluster)], 1 << 20)
    refused("table-0.qed", "qed", "table size of 0", [qed(table=0)], 1 << 20)
    refused("head.qed", "qed", "header size of 4294967295",
            [qed(head=0xffffffff)], 1 << 20)
    refused("size.qed", "qed", "disk size", [qed(size=1 << 63)], 1 << 20)
    refused("l1-on-header.qed", "qed", "is no place", [qed(l1=0)], 1 << 20)
    big = 16 << 26
    put("tables.qed", "qed", 1 << 20, 0, "",
        [qed(cluster=1 << 26, table=16, l1=1 << 26)], big + (1 << 26))
    n = 65536 * 16 // 8
    put("same.qed", "qed", n * n * 65536, 1, "more than",
        [qed(size=n * n * 65536, table=16),
         (65536, struct.pack("<Q", 17 << 16) * n)], 34 << 16)
    put("itself.qed", "qed", 1 << 29, 1, "more than",
        [qed(size=1 << 29), (65536, struct.pack("<Q", 65536) * 8192)], 1 << 20)


def qcow(size=1 << 20, cluster=9, l2=6, l1=512, name=(0, 0)):
    return 0, struct.pack(">4sIQIIQBBHIQ", b"QFI\xfb", 1, *name, 0, size,
                          cluster, l2, 0, 0, l1)


def make_qcow():
    for bits in 0, 8, 17, 255:
        refused(f"cluster-{bits}.qcow", "qcow", f"not 2^{bits}",
                [qcow(cluster=bits)], 1 << 20)
    refused("size.qcow", "qcow", "L1 entries, allowed are 268435456",
            [qcow(size=(1 << 63) - 1)], 1 << 20)
    refused("l1-far.qcow", "qcow", "is no place", [qcow(l1=1 << 62)], 1 << 20)
    n = 1 << 18
    put("same.qcow", "qcow", n << 29, 1, "more than",
        [qcow(size=n << 29, cluster=16, l2=13, l1=65536),
         (65536, struct.pack(">Q", 65536 + n * 8) * n)], 4 << 20)
    put("sparse.qcow", "qcow", 1 << 43, 0, "",
        [qcow(size=1 << 43)], 2 * GiB + 512)


# ---- bochs, cloop, dmg ---------------------------------------------------------

def bochs(catalog=4, bitmap=512, extent=4096, size=16384):
    return 0, struct.pack("<32s16s16sIIIIIIQ", b"Bochs Virtual HD Image",
                          b"Redolog", b"Growing", 0x20000, 512, catalog,
                          bitmap, extent, 0, size)


def make_bochs():
    for extent in 0, 1, 1 << 31:
        refused(f"extent-{extent}.bochs", "bochs", f"extents of {extent} b",
                [bochs(extent=extent)], 4096)
    refused("catalog.bochs", "bochs", "catalog of 4294967295 entries",
            [bochs(catalog=0xffffffff)], 17 * GiB)
    refused("bitmap.bochs", "bochs", "bitmaps of 2147483648 bytes",
            [bochs(bitmap=1 << 31)], 4096)
    refused("size.bochs", "bochs", "a disk of", [bochs(size=1 << 63)], 4096)


def cloop(block=65536, blocks=1, offsets=b""):
    head = b"#!/bin/sh\n#V2.0 Format\n".ljust(128, b"\0")
    return 0, head + struct.pack(">II", block, blocks) + offsets


def make_cloop():
    for block in 0, 1, 1 << 31:
        refused(f"block-{block}.cloop", "cloop", f"blocks of {block} bytes",
                [cloop(block=block)], 4096)
    refused("table-far.cloop", "cloop", "is past the end",
            [cloop(blocks=0xffffffff)], 4096)
    packed = zlib.compress(bytes(64 << 20))
    offsets = struct.pack(">QQ", 160, 160 + len(packed))
    put("bomb.cloop", "cloop", 512, 0, "",
        [cloop(block=512, offsets=offsets), (160, packed)])
    offsets = struct.pack(">QQ", 160, 136)
    put("backwards.cloop", "cloop", 65536, 2, "",
        [cloop(offsets=offsets)], 4096)


def dmg(sectors, xml=(0, 0), fork=(0, 0), data=(0, 0)):
    t = bytearray(512)
    struct.pack_into(">4sII", t, 0, b"koly", 4, 512)
    struct.pack_into(">QQQQ", t, 24, *data, *fork)
    struct.pack_into(">QQ", t, 216, *xml)
    struct.pack_into(">Q", t, 492, sectors)
    return bytes(t)


def mish(first, chunks):
    out = bytearray(204)
    struct.pack_into(">4sIQ", out, 0, b"mish", 1, first)
    struct.pack_into(">I", out, 200, len(chunks))
    for c in chunks:
        out += struct.pack(">IIQQQQ", c[0], 0, *c[1:])
    return bytes(out)


def plist(tables):
    import base64
    return b"<plist>" + b"".join(
        b"<data>" + base64.b64encode(t) + b"</data>"
        for t in tables) + b"</plist>"


def make_dmg():
    refused("size.dmg", "dmg", "a disk of 18446744073709551615 sectors",
            [(0, plist([mish(0, [])])),
             (4096, dmg((1 << 64) - 1, xml=(0, 300)))])
    refused("list.dmg", "dmg", "allowed are 16777216",
            [(1 << 30, dmg(8, xml=(0, 1 << 30)))])
    text = plist([mish(i, [(0, 0, 1, 0, 0)]) for i in range(30000)])
    put("many-tables.dmg", "dmg", 30000 * 512, 0, "",
        [(0, text), (len(text), dmg(30000, xml=(0, len(text))))])
    text = plist([mish(0, [(0, i, 1, 0, 0) for i in range(100000)])])
    put("many-chunks.dmg", "dmg", 100000 * 512, 0, "",
        [(0, text), (len(text), dmg(100000, xml=(0, len(text))))])
    bomb = zlib.compress(bytes(64 << 20))
    text = plist([mish(0, [(0x80000005, 0, 8, 0, len(bomb))])])
    put("bomb.dmg", "dmg", 4096, 0, "", [
        (0, bomb), (len(bomb), text),
        (len(bomb) + len(text), dmg(8, xml=(len(bomb), len(text))))])
    # A few bytes that go on for ever, in a chunk of 8 sectors.
    lzvn = b"\x14\x01a" + b"\xf0\xff" * 1000 + b"\x06" + bytes(7)
    for what, kind, packed, text in (
            ("bzip2", 6, bz2.compress(bytes(64 << 20)), "stream goes on"),
            ("xz", 8, lzma.compress(bytes(64 << 20)), "or goes on"),
            ("lzvn", 7, b"bvxn" + struct.pack("<II", 0xffffffff, len(lzvn)) +
             lzvn, "leaves the output"),
            ("plain", 7, b"bvx-" + struct.pack("<I", 0xffffffff) + bytes(8192),
             "leaves the output"),
            ("adc", 4, b"\x80a" + b"\x7f\0\0" * 1000, "or the output")):
        text = f"compressed data of {len(packed)} bytes at 0 & {text}"
        table = plist([mish(0, [(0x80000000 | kind, 0, 8, 0, len(packed))])])
        put(f"bomb-{what}.dmg", "dmg", 4096, 2, f"{text} @ {text}", [
            (0, packed), (len(packed), table),
            (len(packed) + len(table), dmg(8, xml=(len(packed), len(table))))])
    # One table of 1000 chunks, which 1000 types name 1000 times each.
    table = mish(0, [(0, 0, 0, 0, 0)] * 1000)
    types, refs = 1000, 1000
    rmap = bytearray(28) + struct.pack(">H", types - 1)
    struct.pack_into(">H", rmap, 24, 28)
    rmap += struct.pack(">4sHH", b"blkx", refs - 1, 2 + 8 * types) * types
    rmap += bytes(12) * refs
    data = struct.pack(">I", len(table)) + table
    fork = struct.pack(">IIII", 16, 16 + len(data), len(data), len(rmap))
    fork += data + rmap
    refused("fork.dmg", "dmg", "resources that overlap",
            [(0, fork), (len(fork), dmg(8, fork=(0, len(fork))))])


# ---- VMDK ----------------------------------------------------------------------

def vmdk_sparse(capacity=2048, grain=128, gt=512, gd=21, desc=(0, 0)):
    h = bytearray(512)
    struct.pack_into("<4sIIQQQQIQQQB4sH", h, 0, b"KDMV", 1, 3, capacity, grain,
                     *desc, gt, 0, gd, 128, 0, b"\n \r\n", 0)
    return 0, bytes(h)


def make_vmdk():
    head = b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n" \
        b"createType=\"twoGbMaxExtentFlat\"\n"
    refused("extents.vmdk", "vmdk", "more than", [
        (0, head + b"RW 1 ZERO\n" * 100000)])
    refused("itself.vmdk", "vmdk", "is the descriptor itself", [
        (0, head + b'RW 1 FLAT "itself.vmdk" 0\n')])
    for grain in 0, 3, 1 << 63:
        refused(f"grain-{grain}.vmdk", "vmdk", f"grain size is {grain},",
                [vmdk_sparse(grain=grain)], 1 << 20)
    refused("capacity.vmdk", "vmdk", "capacity is",
            [vmdk_sparse(capacity=(1 << 64) - 1)], 1 << 20)
    refused("tables.vmdk", "vmdk", "entries of a grain table is 4294967295",
            [vmdk_sparse(gt=0xffffffff)], 1 << 20)
    refused("directory.vmdk", "vmdk", "the file ends at",
            [vmdk_sparse(capacity=1 << 50)], 1 << 20)
    n = 1 << 17
    put("same.vmdk", "vmdk", n << 25, 2, "",
        [vmdk_sparse(capacity=n << 16, gd=1), (
            512, struct.pack("<I", 1 + n * 4 // 512) * n)], 2 << 20)


# ---- LUKS2 ---------------------------------------------------------------------

def make_luks2():
    json = b'{"keyslots":' + b"[" * 15000
    parts = []
    for i, magic in enumerate((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        area = bytearray(16384)
        struct.pack_into(">6sHQQ48s32s64s40s48sQ", area, 0, magic, 2, 16384, 1,
                         b"", b"sha256", b"", b"uuid", b"", i * 16384)
        area[4096:4096 + len(json[:12000])] = json[:12000]
        area[448:480] = hashlib.sha256(area).digest()
        parts.append((i * 16384, bytes(area)))
    refused("depth.luks", "luks", "parsing depth", parts, 16 << 20)


MAKE = {
    "vdi": make_vdi, "vpc": make_vhd, "parallels": make_parallels,
    "qed": make_qed, "qcow": make_qcow, "bochs": make_bochs,
    "cloop": make_cloop, "dmg": make_dmg, "vmdk": make_vmdk,
    "luks": make_luks2,
    "qcow2": lambda: hostile_qcow2.make(put, refused),
    "vhdx": lambda: hostile_vhdx.make(put, refused),
}
for name in sys.argv[1:]:
    MAKE[name]()
print("\n".join(made))

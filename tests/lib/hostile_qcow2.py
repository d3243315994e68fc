# SPDX-License-Identifier: BSD-3-Clause
"""
qcow2 images that claim what is extreme: make(put, refused), see hostile.py.

An image has its header in cluster 0, the refcount table in 1, a refcount block
in 2, the L1 table in 3, an L2 table in 4 and one cluster of data in 5; each
case has some number of it otherwise.
"""
import struct
import zlib

C = 1 << 16
COPIED, PACKED = 1 << 63, 1 << 62
DATA_FILE, CODEC, EXTENDED = 4, 8, 16  # incompatible features


def header(size=C, bits=16, l1=(1, 3 * C), reftable=(C, 1), snapshots=(0, 0),
           features=(0, 0, 0), order=4, length=104, name=(0, 0), version=3,
           crypt=0, more=b""):
    h = struct.pack(">IIQIIQIIQQIIQ", 0x514649fb, version, *name, bits, size,
                    crypt, *l1, *reftable, *snapshots)
    return 0, h + struct.pack(">QQQII", *features, order, length) + more


def ext(kind, data=b"", length=None):
    return struct.pack(">II", kind, len(data) if length is None else length) \
        + data + bytes(-len(data) % 8)


def table(at, *entries):
    return at, struct.pack(f">{len(entries)}Q", *entries)


def image(*extra, counts=1, to_l2=COPIED | 4 * C, to_data=COPIED | 5 * C,
          **fields):
    """The parts of an image, the later ones over the earlier."""
    return [header(**fields), table(C, 2 * C),
            (2 * C, struct.pack(">H", counts) * 6), table(3 * C, to_l2),
            table(4 * C, to_data), (6 * C - 1, b"\0"), *extra]


def bitmaps(n=1, length=32, host=6 * C):
    data = struct.pack(">IIQQ", n, 0, length, host)
    return {"features": (0, 0, 1), "more": ext(0x23852875, data)}


def bitmap(host=7 * C, n=1, granularity=16, name=1, extra=0, kind=1):
    return 6 * C, struct.pack(">QIIBBHI", host, n, 0, kind, granularity, name,
                              extra) + b"b" * 8


def snapshot(l1=(3 * C, 1), texts=(1, 1), extra=16):
    return 6 * C, struct.pack(">QIHHIIQII", *l1, *texts, 0, 0, 0, 0, extra) + \
        struct.pack(">QQ", 0, C) + b"1s".ljust(16, b"\0")


def headers(refused):
    def bad(what, text, **fields):
        refused(f"header-{what}.qcow2", "qcow2", text, image(**fields))
    for bits in 0, 8, 22, 63, (1 << 32) - 1:
        bad(f"bits-{bits}", f"cluster_bits is {bits} & 9 to 21", bits=bits)
    bad("size", "size is 18446744073709551615 & at most 9223372036854775807",
        size=(1 << 64) - 1)
    bad("l1-few", "l1_size is 1 & must have at least 17179869184",
        size=(1 << 63) - 1)
    bad("l1-many", "l1_size is 4294967295 & at most 4194304",
        l1=(0xffffffff, 3 * C))
    bad("l1-far", "l1_table_offset is 9223372036854710272",
        l1=(1, (1 << 63) - C))
    bad("l1-zero", "l1_table_offset is 0 & a positive multiple",
        l1=(1, 0))
    bad("l1-unaligned", "l1_table_offset is 512", l1=(1, 512))
    bad("l1-past", "l1_table_offset is 196608 & has 33554432 bytes",
        l1=(4 << 20, 3 * C))
    bad("order", "refcount_order is 7 & at most 6", order=7)
    for length in 0, 100, 105, 1 << 17, 0xfffffff8:
        bad(f"length-{length}", f"header_length is {length} & a multiple of 8",
            length=length)
    bad("version", "version 4: must be 2 or 3", version=4)
    bad("crypt", "encryption method 3", crypt=3)
    bad("codec", "compression_type is 255", length=112, more=b"\xff" * 8,
        features=(CODEC, 0, 0))
    bad("features", "feature: ff00000000000000", features=(255 << 56, 0, 0))
    bad("extended", "cluster_bits is 9 & 14 to 21", bits=9,
        features=(EXTENDED, 0, 0), l1=(1 << 10, 3 * C))
    bad("name-long", "backing_file_size is 4294967295 & at most 1023",
        name=(1024, 0xffffffff))
    bad("name-far", "backing_file_offset is 4611686018427387904 & inside",
        name=(1 << 62, 10))
    bad("name-in-header", "backing_file_offset is 8", name=(8, 10))
    bad("ext-long", "extension 0x1234 at 0x68 has 4294967288 bytes",
        more=ext(0x1234, length=0xfffffff8))
    bad("ext-names", "extension 0x6803f857 at 0x68 has 65536 bytes",
        more=ext(0x6803f857, length=C))
    bad("ext-crypt", "length of the encryption extension is 15",
        more=ext(0x0537be77, bytes(15)), crypt=2)
    bad("crypt-long", "length of the encryption header is 1152921504606846976",
        more=ext(0x0537be77, struct.pack(">QQ", 6 * C, 1 << 60)), crypt=2)
    bad("crypt-none", "encryption method 2 without", crypt=2)


def directories(put, refused):
    def bad(what, text, **fields):
        refused(f"table-{what}.qcow2", "qcow2", text, image(**fields))
    bad("reftable-many", "refcount_table_clusters is 4294967295 & 1 to 128",
        reftable=(C, 0xffffffff))
    bad("reftable-unaligned", "refcount_table_offset is 1", reftable=(1, 1))
    bad("snapshots-many", "nb_snapshots is 4294967295 & at most 65536",
        snapshots=(0xffffffff, 6 * C))
    bad("snapshots-unaligned", "snapshots_offset is 7",
        snapshots=(1, 7))
    bad("bitmaps-none", "nb_bitmaps is 0 & 1 to 65535", **bitmaps(n=0))
    bad("bitmaps-many", "nb_bitmaps is 4294967295 & 1 to 65535",
        **bitmaps(n=0xffffffff))
    bad("bitmaps-long", "bitmap_directory_size is 9223372036854775808",
        **bitmaps(length=1 << 63))
    bad("bitmaps-short", "bitmap_directory_size is 24 & 24 for each",
        **bitmaps(n=2, length=24))
    bad("bitmaps-far", "bitmap_directory_offset is 1152921504606846976",
        **bitmaps(host=1 << 60))


def entries(put):
    """What a check finds, and what a copy says, are the two halves of TEXT."""
    def odd(what, code, text, *extra, **fields):
        put(what + ".qcow2", "qcow2", C, code, text, image(*extra, **fields))
    none = "points to no cluster of the file", "points past the end of the file"
    bits = "has reserved bits set"
    for what, entry, l1, l2 in (
            ("far", 1 << 55, *none), ("past", 6 * C, *none),
            ("unaligned", 4 * C + 512, none[0], "is not aligned to a cluster"),
            ("reserved", 4 * C | 1 << 56, bits, bits),
            ("ones", (1 << 64) - 1, bits, none[1])):
        found = f"it is {entry:#x}, the file has 393216 bytes in clusters of " \
            "65536"
        odd("l1-" + what, 2, f"ERROR @ L1 table at 0x30000: entry 0 {l1} & "
            + found, to_l2=entry)
        odd("l2-" + what, 2, "ERROR @ L2 table entry of guest offset 0 "
            f"{l2} & {found}", to_data=entry)
    odd("l1-l1", 2, "cluster 3 refcount=1 reference=3 @ two tables overlap at "
        "0x30000", to_l2=3 * C | COPIED)
    odd("l2-none", 3, "Leaked cluster 5 @ no host cluster: it is "
        "0x8000000000000000", to_data=COPIED)
    odd("l2-l1", 2, "cluster 3 refcount=1 reference=2", to_data=3 * C | COPIED)
    odd("l1-header", 2, "ERROR found l2 entry", to_l2=COPIED)
    # 9 bits for the sectors, at 64 KiB: bits 54 and up.
    for what, code, entry, text in (
            ("far", 2, (1 << 54) - 1, f"{none[1]}: it is 0x403fffffffffffff"),
            ("header", 2, 0, "compressed data of 512 bytes at 0"),
            ("self", 2, 4 * C, "compressed data of 512 bytes at 262144"),
            ("long", 2, 5 * C | 255 << 54, "data of 131072 bytes at 327680"),
            ("end", 0, 6 * C - 1, "compressed data of 1 bytes at 393215")):
        odd("packed-" + what, code, ("ERROR" if code else "") + " @ " + text,
            to_data=PACKED | entry)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = bomb.compress(bytes(64 << 20)) + bomb.flush()
    odd("packed-bomb", 2, "ERROR", (5 * C, bomb),
        to_data=PACKED | 5 * C | 255 << 54)
    extended = {"features": (EXTENDED, 0, 0)}
    odd("sub-both", 2, "corrupted subcluster @ contradicting subcluster bits & "
        "subclusters 0xffffffffffffffff",
        table(4 * C, COPIED | 5 * C, (1 << 64) - 1), **extended)
    odd("sub-alone", 2, "subcluster allocation map @ no host cluster & "
        "subclusters 0xffffffff", table(4 * C, 0, 0xffffffff), **extended)
    odd("sub-packed", 2, "compressed cluster with non-zero subcluster",
        table(4 * C, PACKED | 5 * C, 1), **extended)
    for what, code, entry in ("far", 2, 1 << 55), ("header", 2, 0), \
            ("self", 2, C), ("unaligned", 1, 2 * C + 512), ("l1", 2, 3 * C):
        odd("reftable-" + what, code, "", table(C, entry))
    odd("counts-most", 2, "refcount=65535 reference=1", counts=0xffff)
    odd("counts-none", 2, "refcount=0 reference=1", counts=0)


def lists(put):
    def odd(what, code, text, *extra, **fields):
        put(what + ".qcow2", "qcow2", C, code, text, image(*extra, **fields))
    entry = "entry 1 of the snapshot table, at 0x60000: "
    one = {"snapshots": (1, 6 * C)}
    odd("snapshot-l1-many", 2, "l1_size=0xffffffff",
        snapshot((3 * C, 0xffffffff)), **one)
    odd("snapshot-l1-far", 2, "offset 0x4000000000000000 size 0x8",
        snapshot((1 << 62, 1)), **one)
    odd("snapshot-l1-header", 2, "L1 entry with reserved bits",
        snapshot((0, 1)), **one)
    odd("snapshot-texts", 1, entry + "must end within the file",
        snapshot(texts=(65535, 65535)), **one)
    odd("snapshot-extra", 1, entry + "4294967295 bytes of extra data: must be "
        "at most 1024", snapshot(extra=0xffffffff), **one)
    entry = "entry 1 of the bitmap directory, at 0x60000: "
    for what, text, b in (
            ("far", "table at 0x1000000000000000 has 8", bitmap(host=1 << 60)),
            ("many", "table at 0x70000 has 34359738360", bitmap(n=0xffffffff)),
            ("grain", "granularity_bits is 255: must be 9 to 31",
             bitmap(granularity=255)),
            ("name", "a name of 65535 bytes: must have 1 to 1023",
             bitmap(name=65535)),
            ("extra", "must end within the directory",
             bitmap(extra=0xffffffff)),
            ("kind", "type is 255: must be 1", bitmap(kind=255)),
            ("header", "table at 0: must be at a positive multiple of 65536",
             bitmap(host=0))):
        odd("bitmap-" + what, 2, entry + text, b, **bitmaps())
    for bits in 2, 1 << 60, 5 * C + 1:
        odd(f"bitmap-bits-{bits}", 2, f"bitmap table entry {bits:x} is not "
            "valid", bitmap(), table(7 * C, bits), **bitmaps())


def make(put, refused):
    headers(refused)
    directories(put, refused)
    entries(put)
    lists(put)

# SPDX-License-Identifier: BSD-3-Clause
"""
VHDX images that claim what is extreme: make(put, refused), see hostile.py.

The log is at 1 MiB, the metadata at 2 MiB, the BAT at 3 MiB and one block of
data at 4 MiB; each case has some of that otherwise.
"""
import struct
import uuid

from crc32c import sealed

MiB = 1 << 20
DISK = 8 * MiB
LOG = uuid.UUID(int=7).bytes_le


def guid(text):
    return uuid.UUID(text).bytes_le


BAT = guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")
PARAMS = guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
SIZE = guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
SECTOR = guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
LOCATOR = guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
LOCATOR_TYPE = guid("b04aefb7-d19e-4a81-b789-25b8e9445913")


def header(at=1 << 16, seq=1, log=(MiB, MiB), log_guid=bytes(16),
           versions=(0, 1)):
    return at, sealed(struct.pack(
        "<4sIQ16s16s16sHHIQ", b"head", 0, seq, b"f" * 16, b"d" * 16, log_guid,
        *versions, *log).ljust(4096, b"\0"))


def regions(*entries, n=None):
    """Both copies.  An entry: GUID, offset, length, is it required?"""
    out = struct.pack("<4sIII", b"regi", 0, len(entries) if n is None else n,
                      0)
    out += b"".join(struct.pack("<16sQII", *e) for e in entries)
    return 192 << 10, sealed(out.ljust(1 << 16, b"\0")) * 2


def metadata(*items, n=None):
    """An item: GUID, its bytes; or GUID, offset, length."""
    out = struct.pack("<8sHH20x", b"metadata", 0,
                      len(items) if n is None else n)
    at, data = 1 << 16, b""
    for kind, *what in items:
        if len(what) == 1:
            what = at + len(data), len(what[0])
            data += next(i[1] for i in items if i[0] == kind and len(i) == 2)
        out += struct.pack("<16sIII4x", kind, *what, 4)
    return 2 * MiB, out.ljust(1 << 16, b"\0") + data


def params(block=MiB, flags=0):
    return PARAMS, struct.pack("<II", block, flags)


def size(n=DISK):
    return SIZE, struct.pack("<Q", n)


def sector(n=512):
    return SECTOR, struct.pack("<I", n)


def locator(*pairs, n=None, kind=LOCATOR_TYPE):
    """A pair: two texts."""
    at = 20 + 12 * len(pairs)
    entries = texts = b""
    for key, value in pairs:
        k, v = (t.encode("utf-16le") for t in (key, value))
        entries += struct.pack("<IIHH", at + len(texts),
                               at + len(texts) + len(k), len(k), len(v))
        texts += k + v
    return LOCATOR, kind + struct.pack(
        "<HH", 0, len(pairs) if n is None else n) + entries + texts


def image(*more, bat=(4 * MiB | 6,)):
    return [(0, b"vhdxfile"), header(),
            regions((BAT, 3 * MiB, MiB, 1), (METADATA, 2 * MiB, MiB, 1)),
            metadata(params(), size(), sector()),
            (3 * MiB, struct.pack(f"<{len(bat)}Q", *bat)),
            (5 * MiB - 1, b"\0"), *more]


def entry(seq=1, tail=0, length=8192, n=1, log=LOG, host=3 * MiB, kind=b"desc",
          zero_len=0, flushed=5 * MiB, last=5 * MiB):
    """An entry of the log with one descriptor and a sector of data."""
    out = struct.pack("<4sIIIQII16sQQ", b"loge", 0, length, tail, seq, n, 0,
                      log, flushed, last)
    out += struct.pack("<4s4sQQQ", kind, bytes(4), zero_len, host, seq)
    data = b"data" + struct.pack("<I", seq >> 32) + bytes(4084)
    data += struct.pack("<I", seq & 0xffffffff)
    return sealed((out.ljust(4096, b"\0") + data)[:8192])


def log(*entries):
    """The header that says so, and the entries from the start of the log on."""
    return header(seq=2, at=2 << 16, log_guid=LOG), (MiB, b"".join(entries))


def headers(bad):
    bad("none", "no valid VHDX header", (1 << 16, bytes(4096)))
    bad("twice", "two VHDX headers with the number 1",
        header(at=2 << 16, log=(MiB, 2 * MiB)))
    bad("version", "version 65535, only 1", header(versions=(0, 65535)))
    bad("log-version", "log version 7, only 0", header(versions=(7, 1)))
    for n, at in (0, MiB), (1, MiB), (0xfff00000, 1 << 63), (MiB, 0), \
            (MiB, 512), (MiB, (1 << 64) - MiB):
        bad(f"log-{n}-{at}", f"VHDX header: a log of {n} bytes at "
            f"{at:#x}".replace("0x0", "0"),
            header(log=(n, at)))
    bad("log-past", "VHDX log of 4293918720 bytes at 0x100000 is not all in",
        header(log=(0xfff00000, MiB), log_guid=LOG))


def tables(bad):
    def region(what, text, host, length):
        bad("region-" + what, text, regions(
            (BAT, 3 * MiB, MiB, 1), (METADATA, host, length, 1)))
    region("far", "a region of 1048576 bytes at 0xffffffffffe00000",
           (1 << 64) - 2 * MiB, MiB)
    region("long", "a region of 4293918720 bytes at 0x200000", 2 * MiB,
           0xfff00000)
    region("empty", "a region of 0 bytes at 0x200000", 2 * MiB, 0)
    region("header", "a region of 1048576 bytes at 0;", 0, MiB)
    region("unaligned", "a region of 1048576 bytes at 0x200001", 2 * MiB + 1,
           MiB)
    bad("regions", "VHDX region table at 192 KiB has more than 2047 entries",
        regions(n=0xffffffff))
    bad("regions-none", "VHDX region table: no BAT region", regions())
    bad("regions-twice", "{2dc27766-f623-4200-9d64-115e9bfd4a08} is there twice",
        regions((BAT, 3 * MiB, MiB, 1), (BAT, 3 * MiB, MiB, 1)))
    bad("region-unknown", "VHDX region {63636363-6363-6363-6363-636363636363}",
        regions((b"c" * 16, 3 * MiB, MiB, 1)))
    bad("items", "VHDX metadata table at 0x200000 & 65535 entries, allowed are "
        "2047", metadata(n=65535))
    bad("items-none", "VHDX metadata: no file parameters", metadata())
    bad("item-unknown", "VHDX metadata item {63636363", metadata(
        (b"c" * 16, b"x")))
    bad("item-twice", "two items: virtual disk size", metadata(
        params(), size(), size(), sector()))
    for what, at, n in ("far", 0xffffffff, 8), ("long", 1 << 16, 0xffffffff), \
            ("table", 0, 8), ("empty", 1 << 16, 0), ("past", MiB - 4, 8):
        bad("item-" + what, f"virtual disk size of {n} bytes at {at:#x}"
            .replace("0x0", "0") + " of the region: allowed are 8 to 8 bytes "
            "between 0x10000 and 0x100000",
            metadata(params(), (SIZE, at, n), sector()))
    for n in 0, 1, 3 * MiB, 512 * MiB, 1 << 31:
        bad(f"block-{n}", f"VHDX block size {n}: must be a power of two",
            metadata(params(n), size(), sector()))
    for n in 0, 1, 1024, 1 << 31:
        bad(f"sector-{n}", f"sector size {n}: must be 512 or 4096",
            metadata(params(), size(), sector(n)))
    for n in (64 << 40) + 512, 1, (1 << 64) - 512:
        bad(f"size-{n}", f"VHDX disk size {n}: must be whole sectors",
            metadata(params(), size(n), sector()))
    bad("bat", "VHDX BAT region of 1048576 bytes: the disk needs 67125247",
        metadata(params(), size(64 << 40), sector()))


def parents(bad):
    def parent(what, text, item):
        bad("parent-" + what, text, metadata(params(flags=2), size(), sector(),
                                             item))
    name = "relative_path", "no.vhdx"
    bad("parent-none", "VHDX metadata: no parent locator",
        metadata(params(flags=2), size(), sector()))
    parent("kind", "parent locator: of an unknown type",
           locator(name, kind=b"x" * 16))
    parent("many", "parent locator: 65535 entries in", locator(name, n=65535))
    parent("nothing", "parent locator: no path", locator())
    parent("guid", "parent_linkage is not a GUID", locator(
        ("parent_linkage", "x" * 3000), name))
    for what, at in ("far", (0xffffffff, 32, 8, 8)), ("long", (
            32, 32, 65535, 8)), ("head", (0, 32, 8, 8)), ("odd", (
                32, 32, 7, 8)):
        parent(what, "parent locator: entry 0 is not a text", (
            LOCATOR, LOCATOR_TYPE + struct.pack("<HHIIHH", 0, 1, *at) +
            bytes(64)))
    parent("long-item", "parent locator of 65537 bytes", (
        LOCATOR, bytes(65537)))


def logs(bad, put):
    bad("log-cut", "the VHDX log knows of 1099511627776",
        *log(entry(flushed=1 << 40)))
    bad("log-own", "VHDX log: it has 4096 bytes for 0x100000, where",
        *log(entry(host=MiB)))
    bad("log-header", "VHDX log: it has 4096 bytes for 0x10000, where",
        *log(entry(host=1 << 16)))
    bad("log-zero", "bytes for 0x30000, where",
        *log(entry(host=192 << 10, kind=b"zero", zero_len=255 << 40)))
    bad("log-tail", "the tail at 0x1000 is not an entry",
        *log(entry(1), entry(2, tail=4096)))
    # What is not valid is not there.
    for what, parts in ("seq-0", [entry(seq=0)]), ("seq-most", [entry(
            seq=(1 << 64) - 1)]), ("tail-far", [entry(tail=MiB)]), (
            "long", [entry(length=0xfffff000)]), ("many", [entry(
                n=0xffffffff)]), ("host", [entry(host=1 << 63)]), (
            "file", [entry(last=1 << 63)]), ("other", [entry(log=b"x" * 16)]):
        put("vhdx-log-" + what + ".vhdx", "vhdx", DISK, 0, "",
            image(*log(*parts)))
    # Each entry names the one after it: a ring of tails.
    ring = [entry(i + 1, tail=(i + 1) % 128 * 8192) for i in range(128)]
    put("ring.vhdx", "vhdx", DISK, 0, "", image(*log(*ring)))
    # 16 entries of 1 MiB, one in the other, that are not whole.
    head = entry(length=MiB)[:4096]
    put("nested.vhdx", "vhdx", DISK, 0, "", image(*log(head * 256)))


def blocks(put):
    def odd(what, code, text, *entries):
        put(f"bat-{what}.vhdx", "vhdx", DISK, code, text, image(bat=entries))
    for what, e, text in (
            ("far", 1 << 63 | 6, "points out of the file"),
            ("past", 5 * MiB | 6, "points out of the file"),
            ("header", 6, "points out of the file"),
            ("state", 5, "has an unknown state"),
            ("part", 4 * MiB | 7, "is partly present, in an image without")):
        text = f"BAT entry 0 ({e:#x}) {text}"
        odd(what, 2, f"{text} @ {text} & the file has 5242880 bytes", e)
    odd("reserved", 0, "", 4 * MiB | 0xfff8 | 6)
    for what, host in ("log", MiB), ("metadata", 2 * MiB), ("bat", 3 * MiB), \
            ("each-other", 4 * MiB):
        odd("on-" + what, 2, f"a block at {host:#x} has another owner",
            *[host | 6] * 2)


def make(put, refused):
    def bad(what, text, *more):
        refused(what + ".vhdx", "vhdx", text, image(*more))
    headers(bad)
    tables(bad)
    parents(bad)
    logs(bad, put)
    blocks(put)

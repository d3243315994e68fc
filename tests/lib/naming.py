# SPDX-License-Identifier: BSD-3-Clause
"""
    naming.py FOLDER IMGCTL < NAMES

Make images that name another file, for each line "LABEL NAME" of stdin one of
each carrier, that is, place in a format where a name can be:
FOLDER/LABEL.CARRIER.  NAME has Python's escapes.  The rest of each image is
right.
"""
import os
import struct
import subprocess
import sys


def put(path, *parts, length=0):
    with open(path, "wb") as f:
        for at, data in parts:
            f.seek(at)
            f.write(data)
        f.truncate(max(length, f.seek(0, os.SEEK_END)))


def narrow(text):
    return text.encode("utf-8", "surrogatepass")


def wide(text):
    return text.encode("utf-16-le", "surrogatepass")


def qcow2(path, name, data_file):
    """Header, counts, L1 table; each a cluster."""
    ext = struct.pack(">II", 0x44415441, len(name)) + name
    ext += bytes(-len(ext) % 8)
    ext = ext * data_file + bytes(8)
    at = 104 + len(ext)
    h = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3,
                    0 if data_file else at, 0 if data_file else len(name), 16,
                    1 << 20, 0, 1, 3 << 16, 1 << 16, 1, 0, 0,
                    4 if data_file else 0, 0, 0, 4, 104)
    put(path, (0, h + ext + (b"" if data_file else name)),
        (1 << 16, struct.pack(">Q", 2 << 16)),
        (2 << 16, struct.pack(">4H", 1, 1, 1, 1)), length=4 << 16)


def qcow2_backing(path, text):
    qcow2(path, narrow(text), False)


def qcow2_data(path, text):
    qcow2(path, narrow(text), True)


def qcow(path, text):
    name = narrow(text)
    put(path, (0, struct.pack(">4sIQIIQBBHIQ", b"QFI\xfb", 1, 48, len(name), 0,
                              1 << 20, 12, 9, 0, 0, 4096) + name),
        length=8192)


def qed(path, text):
    name = narrow(text)
    put(path, (0, struct.pack("<4sIIIQQQQQII", b"QED\0", 65536, 1, 1, 1, 0, 0,
                              65536, 1 << 20, 64, len(name)) + name),
        length=2 << 16)


def vmdk(path, parent, extent):
    put(path, (0, b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=" +
               (b"1" if parent else b"ffffffff") +
               b'\ncreateType="twoGbMaxExtentFlat"\n' +
               (b'parentFileNameHint="' + parent + b'"\n') * bool(parent) +
               extent))


def vmdk_parent(path, text):
    vmdk(path, narrow(text), b"RW 2048 ZERO\n")


def vmdk_extent(path, text):
    vmdk(path, b"", b'RW 2048 FLAT "' + narrow(text) + b'" 0\n')


def sealed(h, at):
    struct.pack_into(">I", h, at, ~sum(h) & 0xffffffff)
    return bytes(h)


def vhd(path, text):
    """In a locator "W2ru"."""
    name = wide(text)
    f, h = bytearray(512), bytearray(1024)
    struct.pack_into(">8sIIQI4sI4sQQHBBI", f, 0, b"conectix", 2, 0x10000, 512,
                     0, b"qem2", 0x50003, b"Wi2k", 2 << 20, 2 << 20, 60, 4, 17,
                     4)
    struct.pack_into(">8sQQIII", h, 0, b"cxsparse", (1 << 64) - 1, 1536,
                     0x10000, 1, 2 << 20)
    struct.pack_into(">IIIIQ", h, 576, 0x57327275, 512, len(name), 0, 2048)
    put(path, (0, sealed(f, 64)), (512, sealed(h, 36)),
        (1536, b"\xff" * 512), (2048, name), (2560, bytes(f)), length=3072)


def vhdx(path, text):
    """One that imgctl has made, with the texts of its locator replaced."""
    base = os.path.join(os.path.dirname(path), "..", "base.vhdx")
    long = "./" + "x/../" * 60 + "../base.vhdx"
    os.makedirs(os.path.join(os.path.dirname(path), "x"), exist_ok=True)
    if not os.path.exists(base):
        subprocess.check_call([IMGCTL, "create", "-q", "-f", "vhdx", base,
                               "1M"])
    subprocess.check_call([IMGCTL, "create", "-q", "-f", "vhdx", "-b", long,
                           "-F", "vhdx", path])
    with open(path, "r+b") as f:
        image = f.read()
        at = image.index(bytes.fromhex("b7ef4ab09ed1814ab78925b8e9445913"))
        n = struct.unpack_from("<H", image, at + 18)[0]
        for i in range(at + 20, at + 20 + n * 12, 12):
            key, value, key_len, value_len = struct.unpack_from("<IIHH", image,
                                                                i)
            if image[at + key:][:key_len] == wide("relative_path"):
                name = wide(text)
                assert len(name) <= value_len
                f.seek(i + 10)
                f.write(struct.pack("<H", len(name)))
                f.seek(at + value)
                f.write(name)
                return
    sys.exit("no relative_path")


CARRIERS = {"backing.qcow2": qcow2_backing, "data.qcow2": qcow2_data,
            "qcow": qcow, "qed": qed, "parent.vmdk": vmdk_parent,
            "extent.vmdk": vmdk_extent, "vhd": vhd, "vhdx": vhdx}

folder, IMGCTL = sys.argv[1:]
for line in sys.stdin:
    label, name = line.rstrip("\n").split(" ", 1)
    name = name.encode().decode("unicode_escape")
    for carrier, make in CARRIERS.items():
        make(os.path.join(folder, f"{label}.{carrier}"), name)

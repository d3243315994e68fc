# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of images that commands work on, and those that are there before.

ROLE.KIND is an image: `base` has data, `other` a little more, `top` stands on
`base` where the format has backing files and is a copy of it otherwise,
`target` has something else, `broken` is what `check -r all` repairs.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass

SIZE = 256 * 1024
SECRET = ["--object", "secret,id=s,data=letmein"]
# The reference has the size of a sparse extent from its own header only.
IN_PARTS = ("flat.vmdk", "sparse.vmdk")


@dataclass(frozen=True)
class Kind:
    """
    name: what its files end in.
    options: of create.
    key: the option that names its secret.
    backing: it can have a backing file; mixed: of any format.
    overlays_ours: the reference does not open what has a backing file.
    replays: nor what was not closed.
    counts_leaks: the reference calls leaks, or that, errors.
    checked: there is something to check.
    cuts: it can be made smaller.
    damage: does to a file what a repair puts right.
    """
    name: str
    driver: str
    options: str = ""
    key: str = None
    backing: bool = False
    overlays_ours: bool = False
    replays: bool = False
    counts_leaks: bool = False
    checked: bool = True
    cuts: bool = True
    files: int = 1
    damage: object = None


# ---- damage ------------------------------------------------------------------

def put(name, at, data):
    """`at`: from the end if it is less than 0."""
    with open(name, "r+b") as f:
        f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        f.write(data)


def get(name, at, how):
    with open(name, "rb") as f:
        f.seek(at)
        return struct.unpack(how, f.read(struct.calcsize(how)))[0]


def lengthen(name):
    with open(name, "r+b") as f:
        f.truncate(-(-os.path.getsize(name) // 65536) * 65536 + 65536)


def cut_footer(name):
    with open(name, "r+b") as f:
        f.truncate(os.path.getsize(name) - 1536)


def redundant_entry(name):
    """The two grain tables of a VMDK extent differ."""
    table = get(name, 512 * get(name, 48, "<Q"), "<I")
    put(name, 512 * table, bytes(4))


KINDS = {kind.name: kind for kind in (
    Kind("raw", "raw", checked=False),
    Kind("qcow2", "qcow2", "cluster_size=4k", backing=True),
    Kind("vmdk", "vmdk", "subformat=monolithicSparse", backing=True,
         replays=True, damage=redundant_entry),
    Kind("split", "vmdk", "subformat=twoGbMaxExtentSparse", files=2,
         cuts=False),
    Kind("flat", "vmdk", "subformat=monolithicFlat", files=2, checked=False),
    Kind("flats", "vmdk", "subformat=twoGbMaxExtentFlat", files=2,
         checked=False),
    Kind("stream", "vmdk", "subformat=streamOptimized", replays=True,
         cuts=False, damage=cut_footer),
    Kind("vhdx", "vhdx", "block_size=1M,log_size=1M", backing=True,
         overlays_ours=True, replays=True,
         damage=lambda name: put(name, 256 << 10, bytes(512))),
    Kind("vpc", "vpc", "force_size=on", backing=True, overlays_ours=True,
         damage=lambda name: put(name, -512, bytes(512))),
    Kind("vdi", "vdi", counts_leaks=True,
         damage=lambda name: put(name, 388, bytes(4))),
    Kind("qed", "qed", "cluster_size=4k", backing=True,
         damage=lambda name: put(name, 16, b"\2")),
    Kind("qcow", "qcow", backing=True, damage=lengthen),
    Kind("parallels", "parallels", "cluster_size=64k", counts_leaks=True,
         damage=lambda name: put(name, 44, struct.pack("<I", 0x746F6E59))),
    Kind("luks", "luks", "key-secret=s,iter-time=0", key="key-secret",
         checked=False),
    Kind("crypt", "qcow2", "encrypt.format=luks,encrypt.key-secret=s,"
         "encrypt.iter-time=0,cluster_size=4k",
         key="encrypt.key-secret", damage=lengthen),
)}


def kind_of(name):
    return KINDS.get(name.rsplit(".", 1)[-1], KINDS["qcow2"])


def spec(name):
    """For --image-opts."""
    kind = kind_of(name)
    key = f",{kind.key}=s" if kind.key else ""
    return f"driver={kind.driver}{key},file.filename={name}"


def named(name):
    """How a command that knows -f is told to open it."""
    kind = kind_of(name)
    if kind.key:
        return [*SECRET, "--image-opts", spec(name)]
    return ["-f", kind.driver, name]


def create_options(kind):
    return ["-o", kind.options] if kind.options else []


# ---- what there is before ----------------------------------------------------

def run(*argv, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=60, **more)


def must(*argv, cwd=None):
    done = run(*argv, cwd=cwd)
    if done.returncode:
        sys.exit(f"{argv}: {done.stderr.decode()}")
    return done.stdout


def read_file(name):
    with open(name, "rb") as f:
        return f.read()


class Start:
    """
    Makes the images of a kind, and the raw ones, in a folder; by the reference
    where it can.
    """

    def __init__(self, folder, kind, imgctl):
        self.folder, self.imgctl = folder, imgctl
        os.mkdir(folder)
        rng = random.Random(1)
        with open(folder + "/src.raw", "wb") as f:
            f.write(rng.randbytes(90000) + bytes(40960) + b"text" * 9000)
            f.truncate(SIZE)
        self.copy("src.raw", "other.raw")
        self.write("other.raw", (3, 60, 60))
        if kind.name == "raw":
            self.copy("src.raw", "top.raw")
            self.copy("src.raw", "target.raw")
        else:
            self.make(kind)
        if kind.name == "qcow2":
            self.make_qcow2()
        if kind.name == "vmdk":
            self.make_in_parts("flat", "bin")
            self.make_in_parts("sparse", "part")
        self.make_old(kind)

    def q(self, *argv):
        must(*argv, cwd=self.folder)

    def copy(self, old, new):
        shutil.copy(f"{self.folder}/{old}", f"{self.folder}/{new}")

    def write(self, name, *writes):
        """(value, offset, length), in KiB; value 0: as zeroes."""
        for value, off, length in writes:
            if kind_of(name).overlays_ours and name.startswith("top"):
                self.q(self.imgctl, "bench", "-w", "-c", "1", "-d", "1",
                       f"--pattern={value}", "-o", f"{off}k", "-s",
                       f"{length}k", *named(name))
            else:
                how = f"-P {value}" if value else "-z"
                self.q("qemu-io", "-c", f"write {how} {off}k {length}k",
                       *named(name))

    def make(self, kind):
        base, other, top = (f"{role}.{kind.name}"
                            for role in ("base", "other", "top"))
        self.convert(kind, base)
        self.convert(kind, other)
        self.convert(kind, f"target.{kind.name}")
        if kind.name != "stream":
            self.write(other, (3, 60, 60))
            self.write(f"target.{kind.name}", (9, 128, 64))
        if kind.backing:
            tool = self.imgctl if kind.overlays_ours else "qemu-img"
            self.q(tool, "create", "-q", "-f", kind.driver,
                   *create_options(kind), "-b", base, "-F", kind.driver, top)
            self.write(top, (4, 20, 30), (5, 90, 3), (0, 30, 12))
        else:
            self.convert(kind, top)
        if kind.damage:
            self.copy(base, f"broken.{kind.name}")
            kind.damage(f"{self.folder}/broken.{kind.name}")

    def make_old(self, kind):
        for name in f"old.{kind.name}", "old.raw":
            with open(f"{self.folder}/{name}", "wb") as f:
                f.write(b"what stood there before" * 999)
        if kind.files > 1:
            self.convert(kind, f"old.{kind.name}")

    def convert(self, kind, name):
        # The reference cannot be told how often to hash a password.
        self.q(self.imgctl if kind.key else "qemu-img", "convert", *SECRET, "-f", "raw", "-O", kind.driver,
               *create_options(kind), "src.raw", name)

    def make_in_parts(self, name, ending):
        """VMDK disks in files of 64 KiB; the last one has 32 KiB of them."""
        lines = ""
        for i, size in enumerate((64, 64, 32)):
            part = f"{name}-{i}.{ending}"
            lines += f'RW {size * 2} {name.upper()} "{part}"' + (
                " 0\n" if name == "flat" else "\n")
            kind = "raw" if name == "flat" else "vmdk"
            self.q("qemu-img", "create", "-q", "-f", kind, part, f"{size}k")
            self.q("qemu-io", "-f", kind, "-c", f"write -P {i + 1} 0 {size}k",
                   part)
        with open(f"{self.folder}/{name}.vmdk", "w", encoding="ascii") as f:
            f.write("# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                    "parentCID=ffffffff\ncreateType=\"twoGbMaxExtent"
                    f"{name.capitalize()}\"\n{lines}"
                    'ddb.geometry.heads = "16"\n')

    def make_qcow2(self):
        """What only this format has: snapshots, bitmaps, counts."""
        self.q("qemu-img", "create", "-q", "-f", "qcow2", "-o",
               "cluster_size=4k", "full.qcow2", "256k")
        self.write("full.qcow2", (6, 0, 128))
        self.q("qemu-img", "snapshot", "-c", "one", "full.qcow2")
        self.write("full.qcow2", (7, 64, 80))
        self.copy("full.qcow2", "snap.qcow2")
        for name in "b0", "b1":
            self.q("qemu-img", "bitmap", "--add", "full.qcow2", name)
            self.write("full.qcow2", (8, 10, 9))
        for name, cluster, count in ("leaks", 600, 1), ("counts", 8, 0):
            path = f"{self.folder}/{name}.qcow2"
            self.copy("base.qcow2", f"{name}.qcow2")
            put(path, get(path, 4096, ">Q") + 2 * cluster,
                count.to_bytes(2, "big"))
            os.truncate(path, 4096 * 601)
        # Another cluster size than the others.
        self.q("qemu-img", "create", "-q", "-f", "qcow2", "-o",
               "cluster_size=512", "target.qcow2", "256k")
        self.write("target.qcow2", (9, 128, 64))

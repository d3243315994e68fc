# SPDX-License-Identifier: BSD-3-Clause
"""Damage qcow2 images in many ways; imgctl check must find what qemu-img does.

usage: qcow2-damage.py IMGCTL FIRST-SEED COUNT

qcow2-repair.py uses the same images and the same damage.

Works in the current folder.  A seed always gives the same damage.
"""
import json
import os
import random
import struct
import subprocess
import sys

COUNTERS = ("check-errors", "corruptions", "leaks", "image-end-offset",
            "total-clusters", "allocated-clusters", "fragmented-clusters",
            "compressed-clusters")
BASIC = "write -P 1 0 300k|write -P 2 1M 200k|write -z 1100k 64k|" \
        "write -z -u 1700k 100k"

# name: (create options, size, steps); a step is a list of qemu-io commands,
# or a qemu-img command with @ for the image.
KINDS = {
    "plain": ("cluster_size=4k", "3M", [BASIC]),
    "small": ("cluster_size=512", "1M",
              ["write -P 1 0 100k|write -P 1 500k 33k"]),
    "snapshots": ("cluster_size=1k", "2M",
                  ["write -P 1 0 300k", "snapshot -c a @",
                   "write -P 3 100k 100k", "snapshot -c b @",
                   "write -P 3 0 20k"]),
    "v2": ("cluster_size=4k,compat=v2", "3M",
           ["write -P 1 0 300k", "snapshot -c a @", "write -P 1 0 30k"]),
    "extended": ("cluster_size=16k,extended_l2=on", "3M", [BASIC]),
    "refcount1": ("cluster_size=1k,refcount_bits=1", "2M", [BASIC]),
    "refcount4": ("cluster_size=1k,refcount_bits=4", "2M",
                  ["write -P 1 0 300k", "snapshot -c a @"]),
    "refcount64": ("cluster_size=1k,refcount_bits=64", "2M", [BASIC]),
    "bitmaps": ("cluster_size=1k", "2M",
                ["write -P 1 0 300k", "bitmap --add -g 512 @ x",
                 "bitmap --add -g 64k @ y", "write -P 1 1M 300k"]),
    "datafile": ("cluster_size=4k,data_file=data.raw", "3M", [BASIC]),
}


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def make_images():
    for name, (options, size, steps) in KINDS.items():
        f = name + ".qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, f, size)
        for step in steps:
            if "@" in step:
                run("qemu-img", *step.replace("@", f).split())
            else:
                run("qemu-io", *(a for c in step.split("|")
                                 for a in ("-c", c)), f)
    rnd = random.Random(1)
    with open("src.raw", "wb") as out:
        for _ in range(600):
            out.write(bytes(rnd.randrange(4) for _ in range(1024)) * 3)
    for name, options in (("zlib", "cluster_size=4k"),
                          ("zstd", "compression_type=zstd")):
        run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", options,
            "src.raw", name + ".qcow2")


class Layout:
    """Host offsets of the entries of all tables of an image."""

    def __init__(self, b):
        self.cluster = 1 << struct.unpack_from(">I", b, 20)[0]
        l1_n, l1, reftable, reftable_cl, snap_n, snap = struct.unpack_from(
            ">IQQIIQ", b, 36)
        self.snapshots = []
        self.l1 = [l1 + 8 * i for i in range(l1_n)]
        for _ in range(snap_n):
            host, n, id_len, name_len = struct.unpack_from(">QIHH", b, snap)
            extra = struct.unpack_from(">I", b, snap + 36)[0]
            self.snapshots.append(snap)
            self.l1 += [host + 8 * i for i in range(n)]
            snap += (40 + extra + id_len + name_len + 7) // 8 * 8
        self.l2 = self.pointed(b, self.l1)
        self.reftable = [reftable + 8 * i
                         for i in range(reftable_cl * self.cluster // 8)]
        self.refblocks = self.pointed(b, self.reftable)

    @staticmethod
    def pointed(b, entries):
        values = (struct.unpack_from(">Q", b, e)[0] & 0xfffffffffffe00
                  for e in entries)
        return [v for v in values if v]

    def entries(self, table):
        return range(table, table + self.cluster, 8)


def pick_entry(b, lay, rnd):
    kind = rnd.choice(("l1", "l2", "l2", "l2", "reftable", "refblock",
                       "refblock", "snapshot"))
    if kind == "l1":
        return rnd.choice(lay.l1)
    if kind == "l2" and lay.l2:
        table = [e for e in lay.entries(rnd.choice(lay.l2)) if e + 8 <= len(b)]
        used = [e for e in table if b[e:e + 8] != bytes(8)]
        return rnd.choice(used if used and rnd.random() < .7 else table)
    if kind == "reftable":
        return rnd.choice(lay.reftable[:4])
    if kind == "refblock":
        n = min(lay.cluster // 8, len(b) // lay.cluster // 2)
        return rnd.choice(lay.refblocks) + 8 * rnd.randrange(max(1, n))
    return rnd.choice(lay.snapshots) if lay.snapshots else None


def new_value(v, b, lay, rnd):
    clusters = len(b) // lay.cluster
    how = rnd.randrange(9)
    if how < 2:
        return v ^ 1 << rnd.randrange(64)
    if how == 2:
        return 0
    if how < 5:
        return v & 1 << 63 | rnd.randrange(clusters) * lay.cluster
    if how == 5:
        return v & 1 << 63 | (clusters + rnd.randrange(5)) * lay.cluster
    if how == 6:
        return v ^ 512
    if how == 7:
        return v ^ 1 << 63
    return rnd.getrandbits(64)


def damage(b, rnd):
    b = bytearray(b)
    lay = Layout(b)
    log = []
    for _ in range(rnd.choice((1, 1, 1, 2, 3))):
        at = pick_entry(b, lay, rnd)
        if at is None or at + 8 > len(b):
            continue
        v = new_value(struct.unpack_from(">Q", b, at)[0], b, lay, rnd)
        struct.pack_into(">Q", b, at, v)
        log.append("%#x=%#x" % (at, v))
    if rnd.random() < .05:
        del b[rnd.randrange(len(b) - 4 * lay.cluster, len(b)):]
        log.append("cut to %d" % len(b))
    return b, log


def check(tool, f):
    r = subprocess.run([tool, "check", "--output=json", "-f", "qcow2", f],
                       capture_output=True, text=True, errors="replace")
    try:
        return r.returncode, json.loads(r.stdout), r.stderr
    except ValueError:
        return r.returncode, None, r.stderr


def compare(imgctl, f):
    """A text that says how the two differ, or None."""
    rc, want, _ = check("qemu-img", f)
    our_rc, got, err = check(imgctl, f)
    if our_rc not in (0, 1, 2, 3):
        return "imgctl: exit code %d: %s" % (our_rc, err)
    if our_rc == 1 and not err:
        return "imgctl: failed, and does not say why"
    # What one of the two cannot open or read, the other may.
    if rc == 1 or our_rc == 1 or not want or not got:
        return None
    if rc != our_rc:
        return "exit code %d, imgctl %d" % (rc, our_rc)
    differ = ["%s %d, imgctl %d" % (k, want.get(k, 0), got.get(k, 0))
              for k in COUNTERS if want.get(k, 0) != got.get(k, 0)]
    return "; ".join(differ) or None


def main():
    imgctl, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    make_images()
    images = sorted(f for f in os.listdir() if f.endswith(".qcow2"))
    failed = compared = 0
    for f in images:
        why = compare(imgctl, f)
        if why:
            failed += 1
            print("%s: %s" % (f, why))
    for seed in range(first, first + count):
        rnd = random.Random(seed)
        f = rnd.choice(images)
        with open(f, "rb") as src:
            b, log = damage(src.read(), rnd)
        with open("damaged.qcow2", "wb") as out:
            out.write(b)
        why = compare(imgctl, "damaged.qcow2")
        compared += 1
        if why:
            failed += 1
            print("seed %d, %s, %s: %s" % (seed, f, ", ".join(log), why))
    print("%d damaged images" % compared)
    sys.exit(1 if failed or not compared else 0)


if __name__ == "__main__":
    main()

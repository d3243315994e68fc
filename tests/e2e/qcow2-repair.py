# SPDX-License-Identifier: BSD-3-Clause
"""Damage qcow2 images in many ways; imgctl check -r must do what qemu-img does.

usage: qcow2-repair.py IMGCTL FIRST-SEED SYSTEMATIC RANDOM

Works in the current folder.  First each class of field gets each class of bad
value, or so many of these pairs picked by the seed (0: all); then there is
random damage.  Each image is checked without -r, which must not write, and
copies of it are repaired by both programs.
"""
import hashlib
import importlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys

damage = importlib.import_module("qcow2-damage")

HEADER = {"backing": (8, 8), "size": (24, 8), "l1_size": (36, 4),
          "l1_offset": (40, 8), "reftable_offset": (48, 8),
          "reftable_clusters": (56, 4), "nb_snapshots": (60, 4),
          "snapshots_offset": (64, 8), "incompatible": (72, 8),
          "autoclear": (88, 8)}
SNAPSHOT = {"l1_offset": (0, 8), "l1_size": (8, 4), "id_len": (12, 2),
            "name_len": (14, 2), "extra_len": (36, 4), "disk_size": (48, 8)}

# It gives up all data when the L1 table is gone, and the snapshots when their
# table is, or when it clears unknown autoclear bits; and it takes names of
# bitmaps with zero bytes in them.
THEIR_BUGS = ("header l1_offset", "header nb_snapshots",
              "header snapshots_offset", "header autoclear",
              "bitmap directory")


def be(b, at, n):
    return int.from_bytes(b[at:at + n], "big")


def entries_of(b, lay):
    """Fields by class: lists of (offset, bytes)."""
    out = {"header " + k: [v] for k, v in HEADER.items()}
    for at in lay.snapshots:
        for k, (off, n) in SNAPSHOT.items():
            out.setdefault("snapshot " + k, []).append((at + off, n))
    l1_n = be(b, 36, 4)
    for i, at in enumerate(lay.l1):
        kind = "L1" if i < l1_n else "snapshot L1"
        out.setdefault(kind, []).append((at, 8))
    for at in lay.reftable[:4]:
        used = be(b, at, 8) != 0
        out.setdefault("reftable" if used else "reftable, none", []).append(
            (at, 8))
    for table in lay.refblocks:
        for at in lay.entries(table):
            used = be(b, at, 8) != 0
            out.setdefault("refblock" if used else "refblock, none",
                           []).append((at, 8))
    for table in lay.l2:
        for at in lay.entries(table):
            v = be(b, at, 8)
            kind = "unallocated" if not v else "packed" if v >> 62 & 1 \
                else "zero" if v & 1 else "data"
            out.setdefault("L2 " + kind, []).append((at, 8))
    bitmaps(b, lay, out)
    return out


def bitmaps(b, lay, out):
    at = b.find(struct.pack(">II", 0x23852875, 24), 104, lay.cluster)
    if at < 0:
        return
    for off, n in ((8, 4), (16, 8), (24, 8)):
        out.setdefault("bitmaps extension", []).append((at + off, n))
    directory = be(b, at + 24, 8)
    for off, n in ((0, 8), (8, 4), (12, 4), (17, 1), (18, 2), (20, 4)):
        out.setdefault("bitmap directory", []).append((directory + off, n))
    table = be(b, directory, 8)
    out.setdefault("bitmap table", []).append((table, 8))


def values_of(v, n, b, lay, rnd):
    """Bad values for a field that holds v."""
    clusters = len(b) // lay.cluster
    flag = v & 1 << 63
    places = {"header": 0, "L1 table": be(b, 40, 8),
              "reftable": be(b, 48, 8), "refblock": rnd.choice(lay.refblocks),
              "L2 table": rnd.choice(lay.l2),
              "any cluster": rnd.randrange(clusters) * lay.cluster,
              "the end": clusters * lay.cluster,
              "behind the end": (clusters + rnd.randrange(1, 9)) * lay.cluster,
              "far behind": (clusters + 5000) * lay.cluster,
              "nowhere": 1 << 55}
    out = {"at " + k: flag | p for k, p in places.items()} if n == 8 else {}
    for bit in (0, 8, 9, 16, 55, 56, 62, 63):
        if bit < 8 * n:
            out["bit %d" % bit] = v ^ 1 << bit
    out.update({"0": 0, "more": v + 1, "less": max(v, 1) - 1,
                "most": (1 << 8 * n) - 1, "any": rnd.getrandbits(8 * n)})
    return {k: x & (1 << 8 * n) - 1 for k, x in out.items()}


def systematic(images, rnd, count):
    """(name, bytes): each class of field with each class of value, once."""
    todo = {}
    for f in images:
        with open(f, "rb") as src:
            b = src.read()
        lay = damage.Layout(b)
        for kind, fields in entries_of(b, lay).items():
            at, n = rnd.choice(fields)
            v = be(b, at, n)
            for how, x in values_of(v, n, b, lay, rnd).items():
                if x != v:
                    todo.setdefault((kind, how), []).append((f, at, n, x))
    pairs = sorted(todo.items())
    for (kind, how), ways in rnd.sample(pairs, count) if count else pairs:
        f, at, n, x = rnd.choice(ways)
        with open(f, "rb") as src:
            b = bytearray(src.read())
        b[at:at + n] = x.to_bytes(n, "big")
        yield "%s: %s: %s: %#x=%#x" % (f, kind, how, at, x), f, b


def at_random(images, first, count):
    for seed in range(first, first + count):
        rnd = random.Random(seed)
        f = rnd.choice(images)
        with open(f, "rb") as src:
            b, log = damage.damage(src.read(), rnd)
        yield "seed %d, %s: %s" % (seed, f, ", ".join(log)), f, b


def state(f):
    with open(f, "rb") as src:
        return os.stat(f).st_mtime_ns, hashlib.sha1(src.read()).digest()


def repair(tool, how, f):
    r = subprocess.run([tool, "check", "-r", how, "--output=json", "-f",
                        "qcow2", f], capture_output=True, text=True,
                       errors="replace")
    try:
        return r.returncode, json.loads(r.stdout), r.stderr
    except ValueError:
        return r.returncode, {}, r.stderr


def reads_metadata(f, clean):
    """Does the guest see tables?  Then it sees what is put right in them."""
    with open(clean, "rb") as src:
        b = src.read()
    lay = damage.Layout(b)
    meta = {0} | {t // lay.cluster for t in lay.l1 + lay.reftable + lay.l2
                  + lay.refblocks + lay.snapshots}
    r = subprocess.run(["qemu-img", "map", "--output=json", "-f", "qcow2", f],
                       capture_output=True, text=True)
    if r.returncode:
        return False
    return any(m * lay.cluster < x["offset"] + x["length"] and
               x["offset"] < (m + 1) * lay.cluster
               for x in json.loads(r.stdout) if "offset" in x for m in meta)


def content(f):
    """What the guest reads, without what cannot be read."""
    r = subprocess.run(["qemu-img", "convert", "--salvage", "-f", "qcow2",
                        "-O", "raw", f, "content.raw"], capture_output=True)
    if r.returncode:
        return None
    with open("content.raw", "rb") as src:
        return hashlib.sha1(src.read()).digest()


def compare(imgctl, how, name, clean, before):
    """A text that says how the two differ, or None."""
    shutil.copy("damaged.qcow2", "theirs.qcow2")
    shutil.copy("damaged.qcow2", "ours.qcow2")
    rc, want, _ = repair("qemu-img", how, "theirs.qcow2")
    our_rc, got, err = repair(imgctl, how, "ours.qcow2")
    if our_rc not in (0, 1, 2, 3):
        return "exit code %d: %s" % (our_rc, err)
    if our_rc == 1 and not err:
        return "failed, and does not say why"
    if our_rc == 1 and state("ours.qcow2")[1] != state("damaged.qcow2")[1]:
        return "failed, but changed the image"
    after, _, _ = damage.check("qemu-img", "theirs.qcow2")
    our_after, _, _ = damage.check("qemu-img", "ours.qcow2")
    if our_rc == 0 and damage.check(imgctl, "ours.qcow2")[0] != 0:
        return "says all is well, and does not find it so"
    if any(k in name for k in THEIR_BUGS):
        return None
    if how == "all" and after == 0 and our_after in (2, 3):
        return "qemu-img check finds %d" % our_after
    if our_rc == 0 and our_after in (2, 3):
        return "says all is well, qemu-img check finds %d" % our_after
    # Where it gives up, or leaves things wrong, we may do better, or refuse.
    if our_rc != rc and rc != 1 and our_after != 0 and \
            (our_rc != 1 or after == 0):
        return "exit code %d, not %d" % (our_rc, rc)
    if how == "leaks" and rc == our_rc == 0:
        for k in ("leaks-fixed", "corruptions-fixed"):
            if want.get(k) != got.get(k):
                return "%s %s, not %s" % (k, got.get(k), want.get(k))
    now = content("ours.qcow2")
    if before in (None, now) or now == content("theirs.qcow2") or \
            reads_metadata("damaged.qcow2", clean):
        return None
    return "the disk reads differently"


def examine(imgctl, name, clean, b):
    with open("damaged.qcow2", "wb") as out:
        out.write(b)
    was = state("damaged.qcow2")
    damage.check(imgctl, "damaged.qcow2")
    failed = 0
    if state("damaged.qcow2") != was:
        failed += 1
        print("%s: check without -r wrote to it" % name)
    before = content("damaged.qcow2")
    for how in ("leaks", "all"):
        why = compare(imgctl, how, name, clean, before)
        if why:
            failed += 1
            print("%s: -r %s: %s" % (name, how, why))
    return failed


def main():
    imgctl = sys.argv[1]
    first, pairs, count = (int(a) for a in sys.argv[2:5])
    damage.make_images()
    images = sorted(f for f in os.listdir() if f.endswith(".qcow2"))
    failed = n = 0
    for source in (systematic(images, random.Random(first), pairs),
                   at_random(images, first, count)):
        for name, clean, b in source:
            failed += examine(imgctl, name, clean, b)
            n += 1
    print("%d damaged images" % n)
    sys.exit(1 if failed or not n else 0)


if __name__ == "__main__":
    main()

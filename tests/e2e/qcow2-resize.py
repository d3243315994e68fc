# SPDX-License-Identifier: BSD-3-Clause
"""Random writes by qemu-io and resizes by imgctl, against a byte array.

usage: qcow2-resize.py IMGCTL FIRST-SEED COUNT

After each resize qemu-img must find the image sound and its content that of
the array.  Works in the current folder.
"""
import os
import random
import subprocess
import sys

IMGCTL = sys.argv[1]
CLUSTERS = {"512": 512, "4k": 4096, "16k": 16384, "64k": 65536}


class Failure(Exception):
    pass


def run(*args):
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode:
        raise Failure("%s: exit code %d: %s%s" % (
            " ".join(args), r.returncode, r.stdout, r.stderr))


class Image:
    """i.qcow2, perhaps over b.qcow2, perhaps with its data in d.raw."""

    def __init__(self, rnd):
        self.rnd, self.log = rnd, []
        self.cluster = rnd.choice(sorted(CLUSTERS))
        self.v2 = rnd.random() < .2
        self.backed = rnd.random() < .4
        self.datafile = not self.v2 and rnd.random() < .2
        self.raw = self.datafile and not self.backed and rnd.random() < .5
        self.options = "cluster_size=" + self.cluster + self.features()
        for f in ("i.qcow2", "b.qcow2", "d.raw"):
            if os.path.exists(f):
                os.unlink(f)
        self.create(rnd.randrange(1, 6000) * 512)

    def features(self):
        o = ""
        if self.v2:
            o += ",compat=v2"
        elif CLUSTERS[self.cluster] >= 16384 and self.rnd.random() < .5:
            o += ",extended_l2=on"
        elif self.rnd.random() < .3:
            o += ",refcount_bits=%d" % self.rnd.choice((1, 4, 64))
        if self.datafile:
            o += ",data_file=%s/d.raw" % os.getcwd()
        if self.raw:
            o += ",data_file_raw=on"
        return o

    def create(self, size):
        self.data = bytearray(size)
        args = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", self.options]
        if self.backed:
            below = self.rnd.randrange(1, 9000) * 512
            run(*args[:5], "b.qcow2", str(below))
            run("qemu-io", "-c", "write -P 85 0 %d" % below, "b.qcow2")
            self.data[:] = b"\x55" * min(size, below)
            self.data += bytes(size - len(self.data))
            args += ["-b", "b.qcow2", "-F", "qcow2"]
        run(*args, "i.qcow2", str(size))
        self.log.append("%s backed=%s size=%d" % (
            self.options, self.backed, size))

    def some_range(self):
        sectors = len(self.data) // 512
        first = self.rnd.randrange(sectors)
        n = min(self.rnd.choice((1, 8, 200, 1000)), sectors - first)
        return first * 512, n * 512

    def write(self, command, value):
        if not self.data:
            return
        at, n = self.some_range()
        run("qemu-io", "-c", "%s %d %d" % (command, at, n), "i.qcow2")
        self.data[at:at + n] = bytes([value]) * n
        self.log.append("%s %d %d" % (command, at, n))

    def snapshot(self):
        if not (self.v2 or self.datafile or "bits=1" in self.options):
            run("qemu-img", "snapshot", "-c", "s", "i.qcow2")
            self.log.append("snapshot")

    def resize(self):
        size = self.rnd.choice((9000, 9000, 100000))
        size = self.rnd.randrange(size) * 512
        args = [IMGCTL, "resize", "-q", "--shrink", "i.qcow2", str(size)]
        if size > len(self.data) and size < 5000000:
            mode = self.rnd.choice(("off", "off", "metadata", "falloc", "full"))
            args.insert(2, "--preallocation=" + mode)
        self.log.append(" ".join(args[1:]))
        run(*args)
        del self.data[size:]
        self.data += bytes(size - len(self.data))
        self.check()

    def check(self):
        run("qemu-img", "check", "i.qcow2")
        run(IMGCTL, "check", "i.qcow2")
        run("qemu-img", "convert", "-O", "raw", "i.qcow2", "out.raw")
        self.compare("out.raw", len(self.data))
        if self.raw:
            self.compare("d.raw", None)

    def compare(self, name, size):
        with open(name, "rb") as f:
            got = f.read()
        if size is not None and len(got) != size:
            raise Failure("%s: %d bytes, not %d" % (name, len(got), size))
        if got[:len(self.data)] != self.data:
            at = next(i for i, b in enumerate(self.data) if got[i] != b)
            raise Failure("%s: differs at %d" % (name, at))

    def step(self):
        act = self.rnd.randrange(8)
        if act < 2:
            value = self.rnd.randrange(1, 255)
            self.write("write -P %d" % value, value)
        elif act == 2 and not self.v2:
            self.write("write -z -u", 0)
        elif act == 3:
            self.snapshot()
        else:
            self.resize()


def main():
    first, count = int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + count):
        rnd = random.Random(seed)
        image = Image(rnd)
        try:
            for _ in range(rnd.randrange(2, 8)):
                image.step()
        except Failure as why:
            sys.exit("seed %d: %s\n%s" % (seed, "; ".join(image.log), why))
    print("%d images" % count)


main()

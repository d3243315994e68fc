# SPDX-License-Identifier: BSD-3-Clause
"""What the generator knows of the images, from the reference's `info`."""
from dataclasses import dataclass, field

import others

KIB, MIB = 1024, 1024 * 1024
FILES_MAX = 6
CLUSTERS = [512, 512, 1024, 2048, 4096, 4096, 8192, 16384, 16384, 32768,
            65536, 65536, 65536, 65536, 131072, 262144, 524288, MIB,
            2 * MIB, 2 * MIB]


@dataclass
class Image:
    name: str
    fmt: str
    size: int
    cluster: int = 65536
    backing: str = None
    v2: bool = False
    extended: bool = False
    data_file: bool = False
    stream: bool = False  # of compressed grains
    snapshots: list = field(default_factory=list)
    bitmaps: list = field(default_factory=list)
    resized: bool = False


def image_of(name, info):
    data = info.get("format-specific", {}).get("data", {})
    return Image(
        name, info["format"], info["virtual-size"],
        info.get("cluster-size", 65536), info.get("backing-filename"),
        data.get("compat") == "0.10", data.get("extended-l2", False),
        "data-file" in data,
        data.get("create-type") == "streamOptimized",
        info.get("snapshots", []),
        [b["name"] for b in data.get("bitmaps", [])])


class World:
    def __init__(self, rng):
        self.rng = rng
        self.images = {}
        self.made_n = 0
        # Host holes in what falloc made come and go: in few sequences only.
        self.falloc = self.chance(.15)
        self.others = others.wanted()
        self.modes = ["full", "full", "falloc"][:2 + self.falloc]

    def note(self, name, info):
        """What became of it; `info` is None if it is gone or broken."""
        if info is None:
            self.images.pop(name, None)
        else:
            image, old = image_of(name, info), self.images.get(name)
            image.resized = old and (old.resized or old.size != image.size)
            self.images[name] = image

    def new_name(self, fmt):
        self.made_n += 1
        return f"{chr(ord('a') + (self.made_n - 1) % 26)}.{fmt}"

    def chain(self, name):
        """The image and those below it."""
        out = []
        while name in self.images and name not in out:
            out.append(name)
            name = self.images[name].backing
        return out

    def users(self, name):
        """Images that read from it."""
        return [n for n in self.images if n != name and name in self.chain(n)]

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, test=lambda image: True):
        fit = [i for i in self.images.values() if test(i)]
        return self.rng.choice(fit) if fit else None

    def qcow2(self, test=lambda image: True):
        return self.pick(lambda i: i.fmt == "qcow2" and test(i))

    def size(self):
        r = self.rng
        largest = r.choice([256 * KIB, MIB, 3 * MIB, 8 * MIB])
        size = r.randrange(1, largest)
        return size - size % r.choice([512, 4096, 65536, 65536]) or 65536

    def options(self, backing=None, packed=False, data_file=None):
        """Random -o options of a qcow2 image."""
        r = self.rng
        cluster = r.choice(CLUSTERS)
        out = [f"cluster_size={cluster}"]
        if self.chance(.15):
            return out + ["compat=0.10"]
        if self.chance(.3):
            bits = r.choice([1, 2, 4, 8, 16, 32, 64])
            out.append(f"refcount_bits={bits}")
        if self.chance(.15):
            out.append("lazy_refcounts=on")
        if self.chance(.25):
            out.append("compression_type=zstd")
        extended = cluster >= 16384 and self.chance(.3)
        if extended:
            out.append("extended_l2=on")
        if data_file and not packed and self.chance(.12):
            out.append(f"data_file={data_file}")
            if not backing and self.chance(.5):
                out.append("data_file_raw=on")
        if not packed and (extended or not backing) and self.chance(.15):
            mode = r.choice(["metadata", *self.modes])
            out.append(f"preallocation={mode}")
        return out


def is_loose(args):
    """See state.py."""
    words = ("falloc", "data_file", "preallocation=metadata")
    return any(a == "-C" or any(word in a for word in words) for a in args)


def option_args(options):
    return ["-o", ",".join(options)] if options else []

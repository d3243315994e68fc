# SPDX-License-Identifier: BSD-3-Clause
"""Random operations that fit what is there.

To add an operation: write a function that takes the World and returns an Op,
a list of Ops that belong together, or None where nothing fits, and put it in
the table at the end.  Those that make images are in making.py.
"""
import others
from making import (convert, convert_into, dd, make_other, make_overlay,
                    make_qcow2, make_raw)
from sandbox import Op
from world import MIB, is_loose, option_args

# ---- guest writes ------------------------------------------------------------

def place(w, image):
    """A random range of the disk: (offset, length)."""
    r, size = w.rng, image.size
    unit = r.choice([1, 512, 4096, image.cluster // 32 or 1, image.cluster,
                     image.cluster])
    most = r.choice([1, 1, 2, 8, 64]) * unit + r.choice([0, 0, 0, 512])
    if w.chance(.05):
        return 0, size
    off = r.randrange(size)
    off -= off % unit
    if w.chance(.1):
        off = max(0, size - most)
    return off, min(most, size - off)


def write_request(w, image, by):
    what = "write"
    if by != "bench":
        what = w.rng.choices(["write", "zero", "zero-unmap", "trim"],
                             (12, 4, 2, 2))[0]
        # In a raw file that leaves space which counts as a hole or not.
        if what == "zero" and image.fmt == "raw" and not w.falloc:
            what = "zero-unmap"
    off, length = place(w, image)
    if what != "write":
        return what, off, length
    value = w.rng.choice([w.rng.randrange(1, 256), 0, "noise", "noise"])
    if by == "bench" and value == "noise":
        value = 7
    return what, off, length, value


def asks_below(w, image, requests):
    """Is something zeroed that is not whole clusters, over another format?  If
    the rest of the cluster is zeroes there, all of it becomes zeroes; what is a
    hole in a cluster there, only the reference sees."""
    base = w.images.get(image.backing)
    return base and base.fmt != "raw" and any(
        r[0] != "write" and (r[1] % image.cluster or r[2] % image.cluster)
        for r in requests)


def guest_io(w):
    image = w.pick(lambda i: i.size > 0 and others.is_written(i) and
                   others.is_loose_base(w, i))
    if not image:
        return None
    by = w.rng.choices(["nbd", "bench", "qemu"], (6, 2, 2))[0]
    count = 1 if by == "bench" else w.rng.randrange(1, 7)
    requests = [write_request(w, image, by) for _ in range(count)]
    if others.is_other(image):
        requests = others.with_sure_trims(requests)
    # The reference unmaps what it trims in a data file.
    trims = any(r[0] in ("trim", "zero-unmap") for r in requests)
    return Op("io", [image.name], fmt=image.fmt, by=by, requests=requests,
              touch=[image.name],
              same_map=not (others.is_other(image) or
                            image.data_file and trims or
                            asks_below(w, image, requests)),
              keep_theirs=others.is_other(image) and w.chance(.5),
              loose=(image.fmt == "raw" and
                     any(r[0] == "zero" for r in requests)))


# ---- one image ---------------------------------------------------------------

def is_cut(image, new):
    """Does the end that moves cut a cluster?  We make zeroes of what is past
    it; the reference keeps what is compressed, or writes zeroes as data."""
    return image.fmt == "qcow2" and min(new, image.size) % image.cluster


def is_behind(w, image, new):
    """Does it grow over what its backing file has there?  The reference writes
    zeroes, we where it has something else."""
    base = w.images.get(image.backing)
    return base and min(new, base.size) > image.size


def resize(w):
    image = w.pick(lambda i: others.is_loose_base(w, i))
    if not image:
        return None
    args, r = ["resize", "-f", image.fmt], w.rng
    new = max(512, w.size() if w.chance(.5) else
              image.size + 512 * r.randrange(-300, 300))
    if new < image.size:
        args += ["--shrink"] if w.chance(.9) else []
        if w.chance(.7):
            new = max(new // image.cluster, 1) * image.cluster
    elif w.chance(.25):
        modes = ["metadata"] if image.fmt == "qcow2" else []
        args.append("--preallocation=" + r.choice(modes + w.modes))
    if others.is_other(image):
        args = args[:4]
    # The reference may fail to preallocate where its file is longer already,
    # and in version 2 cannot cover what the backing file has there.
    return Op("tool", [*args, image.name, str(new)], touch=[image.name],
              we_can=others.is_other(image) or new > image.size and
              ("prealloc" in args[-1] or image.v2 and image.backing),
              loose=is_loose(args),
              same_map=not (others.any_in_chain(w, image) or
                            is_cut(image, new) or is_behind(w, image, new)))


def snapshot(w):
    image = w.qcow2()
    if not image:
        return None
    r = w.rng
    names = [s["name"] for s in image.snapshots]
    ids = [s["id"] for s in image.snapshots]
    what = r.choice("-c -c -c -a -a -d".split() if names else ["-c"])
    if what == "-c":
        which = r.choice("stuvw")
    elif what == "-a" and w.chance(.3):
        which = r.choice(ids)
    else:
        which = r.choice([*names, "s"])
    # With reference counts of one bit, a table that two share is refused; the
    # reference leaves an empty one when it resizes.
    return Op("tool", ["snapshot", what, which, image.name],
              touch=[image.name], we_can=image.resized and what == "-c")


def bitmap(w):
    # On an empty disk, the reference loses them.
    image = w.qcow2(lambda i: i.size and (not i.v2 or w.chance(.1)))
    if not image:
        return None
    r, there = w.rng, image.bitmaps
    name = r.choice(["p", "q", *there])
    actions = []
    if name not in there:
        actions.append("--add")
        if w.chance(.4):
            grain = r.choice([512, 4096, 65536, MIB])
            actions += ["-g", str(grain)]
        if w.chance(.2):
            actions.append("--disable")
    else:
        actions.append(r.choice(["--clear", "--enable", "--disable",
                                 "--remove", "--add"]))
    if w.chance(.3) and there:
        actions += ["--merge", r.choice(there)]
        other = w.qcow2(lambda i: i.bitmaps and i.name != image.name)
        if other and w.chance(.4):
            actions[-1] = r.choice(other.bitmaps)
            actions += ["-b", other.name, "-F", "qcow2"]
    return Op("tool", ["bitmap", "-f", "qcow2", *actions, image.name, name],
              touch=[image.name])


COMPATS = ["0.10", "1.1", "v2", "v3"]


def amend(w):
    image = w.qcow2()
    if not image:
        return None
    r = w.rng
    new = image.size + 65536 * r.randrange(-2, 20)
    # The reference needs minutes for the counts of large clusters.
    bits = [1, 2, 4, 8, 16, 16, 32, 64] if image.cluster <= 4096 else [0]
    options = r.sample([
        # The reference drops the bitmaps when it downgrades.
        f"compat={r.choice(['1.1', 'v3'] if image.bitmaps else COMPATS)}",
        f"refcount_bits={r.choice(bits)}",
        f"lazy_refcounts={r.choice(['on', 'off'])}",
        f"size={max(new, 512)}",
        "data_file_raw=off",
    ], r.choice([1, 1, 1, 2]))
    options = [o.replace("refcount_bits=0", "compat=1.1") for o in options]
    if options[0] in ("compat=0.10", "compat=v2"):
        options = options[:1]  # not with what version 2 has not
    elif options[-1] in ("compat=0.10", "compat=v2"):
        options = options[-1:]
    return Op("tool", ["amend", "-f", "qcow2", *option_args(options),
                       image.name], touch=[image.name], whole=True,
              same_map=not (is_cut(image, new) or is_behind(w, image, new)))


def damage_and_repair(w):
    """The same bytes, the same damage: both must find and repair the same.
    (With bitmaps, the reference can lose the snapshots.)"""
    image = w.qcow2(lambda i: not i.data_file and not i.bitmaps)
    if not image:
        return None
    r = w.rng
    name = image.name
    how = [r.random(), r.choice([0, 0, 1, 2, 3])]
    mode = r.choice(["leaks", "all", "all"])
    return [Op("adopt"),
            Op("damage", [name, *map(str, how)]),
            Op("tool", ["check", "-f", "qcow2", name], same_out=False),
            Op("tool", ["check", "-f", "qcow2", "-r", mode, name],
               touch=[name], same_out=False),
            Op("tool", ["check", "-f", "qcow2", "-r", "all", name],
               touch=[name], same_out=False)]


# ---- chains ------------------------------------------------------------------

def commit(w):
    image = w.pick(lambda i: i.backing in w.images and not any(
        w.images[n].stream or not others.is_loose_base(w, w.images[n], i)
        for n in w.chain(i.name)))
    if not image:
        return None
    args, chain = ["commit", "-f", image.fmt], w.chain(image.name)
    touch = chain[:2]
    if w.chance(.2):
        args.append("-d")
    if len(chain) > 2 and w.chance(.4):
        touch = [image.name, w.rng.choice(chain[1:])]
        args += ["-b", touch[1]]
    return Op("tool", [*args, image.name], touch=touch, same_map=False,
              we_can=others.any_in_chain(w, image))


def rebase(w):
    # Version 2 without a backing file: the reference loses zeroes.
    image = w.pick(lambda i: i.fmt in others.BACKED and not i.stream and
                   (i.backing or not i.v2 and w.chance(.3)))
    if not image:
        return None
    args, theirs = ["rebase", "-f", image.fmt], None
    unsafe = w.chance(.15)
    if unsafe:
        args.append("-u")
    # QCOW: the reference's commit cuts off a name that is longer than before.
    base = w.pick(lambda i: image.name not in w.chain(i.name) and
                  others.is_base(i) and
                  (image.fmt != "qcow" or
                   len(i.name) <= len(image.backing or "")) and
                  (image.fmt != "vmdk" or i.fmt == "vmdk"))
    if not base or w.chance(.25):
        args += ["-b", ""]
    else:
        args += ["-b", base.name, "-F", base.fmt]
    other = others.is_other(image)
    if not (unsafe or other or image.data_file) and w.chance(.15):
        # Newer than the reference that runs here.
        args, theirs = [*args, "-c", image.name], [*args, image.name]
    else:
        args.append(image.name)
    # The reference writes zeroes as data, and marks other parts of clusters
    # in bitmaps.
    return Op("tool", args, theirs=theirs, touch=[image.name], we_can=other,
              same_map=unsafe and not other)


# ---- questions ---------------------------------------------------------------

def compare(w):
    one, two = w.pick(), w.pick()
    if not one:
        return None
    args = ["compare", "-f", one.fmt, "-F", two.fmt]
    if w.chance(.3):
        args.append("-q")
    return Op("tool", [*args, one.name, two.name])


def measure(w):
    image = w.pick(lambda i: not others.is_other(i) and not w.others)
    if not image:
        return None
    args = ["measure", "-f", image.fmt, "-O", w.rng.choice(["raw", "qcow2"])]
    # The reference takes the size of the disk for that of the snapshot.
    if image.snapshots and not image.resized and w.chance(.3):
        args += ["-l", w.rng.choice(image.snapshots)["name"]]
    if args[4] == "qcow2":
        args += option_args(w.options())
    return Op("tool", [*args, image.name])


def part_of_map(w):
    image = w.pick()
    if not image:
        return None
    off, length = place(w, image)
    return Op("tool", ["info", "--output=json", "-f", image.fmt,
                       image.name], same_out=False) if not length else \
        Op("tool", ["map", "--output=json", "-f", image.fmt,
                    "-s", str(off), "-l", str(length), image.name],
           same_out=False)


def check_all(w):
    image = w.pick()
    return image and Op("tool", ["check", "-f", image.fmt, image.name],
                        same_out=False)


def swap(w):
    return Op("swap") if w.images else None


# How often, and what.
TABLE = [
    (4, make_raw),
    (10, make_qcow2),
    (12, make_overlay),
    (40, guest_io),
    (8, resize),
    (14, snapshot),
    (8, bitmap),
    (4, amend),
    (2, damage_and_repair),
    (7, commit),
    (9, rebase),
    (10, convert),
    (4, convert_into),
    (2, dd),
    (2, compare),
    (3, measure),
    (1, part_of_map),
    (5, swap),
]


def next_ops(w):
    """What comes next; the first is to make an image."""
    table = TABLE + [(20, make_other)] * bool(w.others)
    if not w.images:
        table = [(1, make_raw), (1, make_qcow2),
                 (1, make_other if w.others else make_qcow2)]
    weights = [weight for weight, _ in table]
    while True:
        op = w.rng.choices(table, weights)[0][1](w)
        if op:
            return op if isinstance(op, list) else [op]

# SPDX-License-Identifier: BSD-3-Clause
"""Random operations that fit what is there.

To add an operation: write a function that takes the World and returns an Op,
a list of Ops that belong together, or None where nothing fits, and put it in
the table at the end.
"""
from sandbox import Op
from world import KIB, MIB, FILES_MAX, is_loose, option_args

# ---- making images -----------------------------------------------------------

def make_raw(w):
    if len(w.images) >= FILES_MAX:
        return None
    name = w.new_name("raw")
    size = w.size() if w.chance(.8) else w.rng.randrange(1, MIB)
    args = ["create", "-f", "raw"]
    if w.chance(.2):
        args += ["-o", "preallocation=" + w.rng.choice(w.modes)]
    return Op("tool", [*args, name, str(size)], touch=[name], makes=[name],
              loose=is_loose(args))


def make_qcow2(w):
    if len(w.images) >= FILES_MAX:
        return None
    name = w.new_name("qcow2")
    options = w.options(data_file=name + ".data")
    return Op("tool", ["create", "-f", "qcow2", *option_args(options), name,
                       str(w.size())], touch=[name], makes=[name],
              loose=is_loose(options))


def make_overlay(w):
    base = w.pick(lambda i: len(w.chain(i.name)) <= 3)
    if len(w.images) >= FILES_MAX or not base:
        return None
    name = w.new_name("qcow2")
    options = w.options(backing=base, data_file=name + ".data")
    args = ["create", "-f", "qcow2", *option_args(options),
            "-b", base.name, "-F", base.fmt, name]
    if w.chance(.4):
        args.append(str(w.size()))
    return Op("tool", args, touch=[name], makes=[name],
              loose=is_loose(options))


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


def guest_io(w):
    image = w.pick(lambda i: i.size > 0)
    if not image:
        return None
    by = w.rng.choices(["nbd", "bench", "qemu"], (6, 2, 2))[0]
    count = 1 if by == "bench" else w.rng.randrange(1, 7)
    requests = [write_request(w, image, by) for _ in range(count)]
    # The reference unmaps what it trims in a data file.
    trims = any(r[0] in ("trim", "zero-unmap") for r in requests)
    return Op("io", [image.name], fmt=image.fmt, by=by, requests=requests,
              touch=[image.name], same_map=not (image.data_file and trims),
              loose=(image.fmt == "raw" and
                     any(r[0] == "zero" for r in requests)))


# ---- one image ---------------------------------------------------------------

def is_cut(image, new):
    """Does the end that moves cut a cluster?  We make zeroes of what is past
    it; the reference keeps what is compressed, or writes zeroes as data."""
    return image.fmt == "qcow2" and min(new, image.size) % image.cluster


def resize(w):
    image = w.pick()
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
    # The reference may fail to preallocate where its file is longer already.
    return Op("tool", [*args, image.name, str(new)], touch=[image.name],
              we_can=new > image.size and "prealloc" in args[-1],
              loose=is_loose(args), same_map=not is_cut(image, new))


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
    return Op("tool", ["snapshot", what, which, image.name],
              touch=[image.name])


def bitmap(w):
    image = w.qcow2(lambda i: not i.v2 or w.chance(.1))
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
              same_map=not is_cut(image, new))


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
    image = w.qcow2(lambda i: i.backing in w.images)
    if not image:
        return None
    args, chain = ["commit", "-f", "qcow2"], w.chain(image.name)
    touch = chain[:2]
    if w.chance(.2):
        args.append("-d")
    if len(chain) > 2 and w.chance(.4):
        touch = [image.name, w.rng.choice(chain[1:])]
        args += ["-b", touch[1]]
    return Op("tool", [*args, image.name], touch=touch, same_map=False)


def rebase(w):
    # Version 2 without a backing file: the reference loses zeroes.
    image = w.qcow2(lambda i: i.backing or not i.v2 and w.chance(.3))
    if not image:
        return None
    args, theirs = ["rebase", "-f", "qcow2"], None
    unsafe = w.chance(.15)
    if unsafe:
        args.append("-u")
    base = w.pick(lambda i: image.name not in w.chain(i.name))
    if not base or w.chance(.25):
        args += ["-b", ""]
    else:
        args += ["-b", base.name, "-F", base.fmt]
    if not unsafe and not image.data_file and w.chance(.15):
        # Newer than the reference that runs here.
        args, theirs = [*args, "-c", image.name], [*args, image.name]
    else:
        args.append(image.name)
    # The reference writes zeroes as data, and marks other parts of clusters
    # in bitmaps.
    return Op("tool", args, theirs=theirs, touch=[image.name],
              same_map=unsafe)


def convert(w):
    source = w.pick()
    if not source:
        return None
    r = w.rng
    fmt = r.choice(["raw", "qcow2", "qcow2", "qcow2"])
    packed = fmt == "qcow2" and w.chance(.35)
    args = ["convert", "-f", source.fmt, "-O", fmt]
    sources, base = [source.name], None
    # The reference cuts a larger snapshot to the size of the disk.
    if source.snapshots and not source.resized and w.chance(.6):
        snap = r.choice(source.snapshots)
        args += ["-l", r.choice([snap["name"], snap["id"],
                                 f"snapshot.id={snap['id']}"])]
    elif w.chance(.1):
        other = w.pick(lambda i: i.fmt == source.fmt)
        sources.append(other.name)
    elif source.backing in w.images and fmt == "qcow2" and w.chance(.4):
        base = source.backing
        args += ["-B", base, "-F", w.images[base].fmt]
    if source.bitmaps and fmt == "qcow2" and w.chance(.4):
        args.append("--bitmaps")
    args += convert_how(w, packed)
    name = w.new_name(fmt)
    if fmt == "qcow2":
        args += option_args(w.options(base, packed, name + ".data"))
    makes = [] if name in w.images else [name]
    if len(w.images) >= FILES_MAX:
        old = w.pick(lambda i: not w.users(i.name) and i.fmt == fmt and
                     i.name not in w.chain(source.name) + sources and
                     not i.data_file)
        if not old:
            return None
        args = [old.name + ".data" if a == name + ".data" else a
                for a in args]
        name = old.name
        makes = [name]
    # In small clusters and subclusters, in runs of another length, and at the
    # end of a backing file, the reference looks for zeroes in another way.
    rough = base or "-S" in args or any(a.startswith("cluster_size=") and
                (int(a.split(",")[0][13:]) < 4096 or "extended_l2" in a)
                for a in args)
    return Op("tool", [*args, *sources, name], touch=[name], makes=makes,
              same_map=not rough, loose=is_loose(args))


def convert_how(w, packed):
    args = ["-c"] if packed else []
    if not packed and w.chance(.1):
        args.append("-C")
    elif w.chance(.3):
        args += ["-S", str(w.rng.choice([0, 512, 4096, 65536, 131072]))]
    if w.chance(.2):
        args += ["-m", str(w.rng.choice([1, 4, 16]))]
    if w.chance(.2):
        args.append("-W")
    return args


def convert_into(w):
    """convert -n"""
    source = w.pick()
    target = w.pick(lambda i: not w.users(i.name) and source and
                    i.size >= source.size and
                    i.name not in w.chain(source.name))
    if not target:
        return None
    how = convert_how(w, target.fmt == "qcow2" and w.chance(.2))
    # The reference compresses no cluster that has data already.
    return Op("tool", ["convert", "-n", "-f", source.fmt, "-O", target.fmt,
                       *how, source.name, target.name],
              touch=[target.name], we_can="-c" in how,
              loose=is_loose(how) or target.fmt == "raw",
              same_map=target.cluster >= 4096 and not target.extended)


def dd(w):
    source = w.pick()
    if len(w.images) >= FILES_MAX or not source:
        return None
    fmt = w.rng.choice(["raw", "qcow2"])
    name = w.new_name(fmt)
    operands = [f"if={source.name}", f"of={name}",
                f"bs={w.rng.choice([512, 4096, 65536, 100000])}"]
    # With both, the reference counts from the start of the image.
    if w.chance(.6):
        operands.append(f"{w.rng.choice(['skip', 'count'])}="
                        f"{w.rng.randrange(1, 40)}")
    # The reference writes zeroes as data.
    return Op("tool", ["dd", "-f", source.fmt, "-O", fmt, *operands],
              touch=[name], makes=[name], same_map=False)


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
    image = w.pick()
    if not image:
        return None
    args = ["measure", "-f", image.fmt, "-O", w.rng.choice(["raw", "qcow2"])]
    if image.snapshots and w.chance(.3):
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
    if not w.images:
        return [w.rng.choice([make_raw, make_qcow2, make_qcow2])(w)]
    weights = [weight for weight, _ in TABLE]
    while True:
        op = w.rng.choices(TABLE, weights)[0][1](w)
        if op:
            return op if isinstance(op, list) else [op]

# SPDX-License-Identifier: BSD-3-Clause
"""Random operations that make images: create, convert, dd."""
import others
from sandbox import Op
from world import MIB, FILES_MAX, is_loose, option_args

# ---- create ------------------------------------------------------------------

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
    base = w.pick(lambda i: len(w.chain(i.name)) <= 3 and others.is_base(i))
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


def make_other(w):
    if len(w.images) >= FILES_MAX or not w.others:
        return None
    fmt = w.rng.choice(w.others)
    base = w.pick(lambda i: (i.fmt == "vmdk" or fmt != "vmdk") and
                  others.is_base(i) and len(w.chain(i.name)) <= 3)
    if not base or fmt not in others.BACKED or w.chance(.5):
        base = None
    name = w.new_name(fmt)
    args = ["create", "-f", fmt, *option_args(others.options(w.rng, fmt,
                                                             base))]
    size = [] if base and w.chance(.6) else [str(w.size())]
    if base:
        args += ["-b", base.name, "-F", base.fmt]
    ours = fmt in others.OURS
    return Op("tool", [*args, name, *size], touch=[name], makes=[name],
              theirs=others.REFUSED if ours else None, we_can=ours,
              same_out=False, same_map=False, keep_theirs=w.chance(.5))


# ---- convert -----------------------------------------------------------------

def convert(w):
    source = w.pick()
    if not source:
        return None
    r = w.rng
    fmt = r.choice(["raw", "qcow2", "qcow2", "qcow2", *w.others * 2])
    packed = fmt in ("qcow2", "qcow", "vmdk") and w.chance(.35)
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
    other = fmt in others.FORMATS
    args += convert_how(w, packed)
    if other:
        args += option_args(others.options(r, fmt, None, packed))
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
        args = [a.replace(name + ".data", old.name + ".data") for a in args]
        name = old.name
        makes = [name]
    # In small clusters and subclusters, in runs of another length, and at the
    # end of a backing file, the reference looks for zeroes in another way, and
    # with -S, and in clusters that are copied by the kernel.  A cluster where
    # two inputs meet is not compressed by us.
    rough = (other or base or {"-S", "-C"} & set(args) or
             packed and sources[1:] or
             any(a.startswith("cluster_size=") and
                 (int(a.split(",")[0][13:]) < 4096 or "extended_l2" in a)
                 for a in args))
    ours = fmt in others.OURS
    return Op("tool", [*args, *sources, name], touch=[name], makes=makes,
              theirs=others.REFUSED if ours else None,
              we_can=ours or other and packed,
              same_map=not rough, loose=is_loose(args),
              keep_theirs=other and w.chance(.5))


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
                    others.is_base(i) and
                    others.is_written(i) and i.size >= source.size and
                    i.name not in w.chain(source.name))
    if not target:
        return None
    # With a data file, the reference fails at the first data, we before that.
    how = convert_how(w, target.fmt == "qcow2" and not target.data_file and
                      w.chance(.2))
    # The reference compresses no cluster that has data already.
    return Op("tool", ["convert", "-n", "-f", source.fmt, "-O", target.fmt,
                       *how, source.name, target.name],
              touch=[target.name], we_can="-c" in how,
              loose=is_loose(how) or target.fmt == "raw",
              same_map=target.cluster >= 4096 and not target.extended and
              not {"-S", "-C"} & set(how) and not others.is_other(target))


def dd(w):
    source = w.pick()
    if len(w.images) >= FILES_MAX or not source:
        return None
    # (It takes no options for what it makes.)
    fmt = w.rng.choice(["raw", "qcow2", *w.others])
    if fmt == "luks":
        return None
    name = w.new_name(fmt)
    operands = [f"if={source.name}", f"of={name}",
                f"bs={w.rng.choice([512, 4096, 65536, 100000])}"]
    # With both, the reference counts from the start of the image.  A VMDK image
    # of what is skipped to the end it cannot open.
    if w.chance(.6):
        which = ["count"] if fmt == "vmdk" else ["skip", "count"]
        operands.append(f"{w.rng.choice(which)}="
                        f"{w.rng.randrange(1, 40)}")
    # The reference writes zeroes as data.
    return Op("tool", ["dd", "-f", source.fmt, "-O", fmt, *operands],
              touch=[name], makes=[name], same_map=False)

# SPDX-License-Identifier: BSD-3-Clause
"""The commands whose calls fail."""
from dataclasses import dataclass

from images import IN_PARTS, KINDS, SECRET, create_options, named, spec


@dataclass
class Case:
    """
    new: the file that is made; it may be there before.
    changes: images that are changed in place.
    disks: images whose disk stays what it is though their file changes.
    broken: they are not sound before.
    through: what is changed is read through them: only their file counts.
    noise: what is in a new disk is not the same each time.
    renames: files take the place of others, and give it back after a failure,
    which needs renames that work.
    """
    name: str
    argv: list
    new: str = None
    changes: tuple = ()
    disks: tuple = ()
    broken: bool = False
    through: bool = False
    noise: bool = False
    renames: bool = False


def case(name, text, **more):
    return Case(name, text.split(), **more)


def made(kind, name, argv, **more):
    """To a new name, and over what is there; NEW stands for it."""
    return [Case(name + how, [a.replace("NEW", new) for a in argv], new=new,
                 **more)
            for how, new in (("", "new." + kind.name),
                             (" over", "old." + kind.name))]


# ---- any kind ----------------------------------------------------------------

def making(kind):
    secret, options = SECRET if kind.key else [], create_options(kind)
    top = "top." + kind.name
    out = [
        *made(kind, "create", ["create", *secret, "-f", kind.driver, *options,
                               "NEW", "256k"], noise=kind.name == "luks"),
        *made(kind, "convert to", ["convert", *secret, "-f", "raw", "-O",
                                   kind.driver, *options, "other.raw",
                                   "NEW"]),
        *made(KINDS["raw"], "convert from", ["convert", "-O", "raw",
                                             *named(top), "NEW"]),
    ]
    if kind.backing:
        new = f"new.{kind.name}"
        out.append(Case("create overlay", [
            "create", "-f", kind.driver, *options, "-b", f"base.{kind.name}",
            "-F", kind.driver, new], new=new))
    if not kind.key and kind.files == 1:
        out += made(kind, "dd", ["dd", "-f", kind.driver, "-O", kind.driver,
                                 "bs=8k", f"if={top}", "of=NEW"])
    return out


def writing(kind):
    target = f"target.{kind.name}"
    into = (["--target-image-opts", *SECRET, "other.raw", spec(target)]
            if kind.key else ["-O", kind.driver, "other.raw", target])
    out = [
        Case("convert -n", ["convert", "-n", "-f", "raw", *into],
             changes=(target,)),
        Case("resize", ["resize", *named(target), "600k"], changes=(target,)),
        Case("bench -w", ["bench", "-w", "--pattern=17", "-c", "20", "-d", "1",
                          "-S", "8k", "--flush-interval=3", *named(target)],
             changes=(target,)),
    ]
    if kind.cuts:
        out.append(Case("resize --shrink", [
            "resize", "--shrink", *named(target), "50k"], changes=(target,)))
    if kind.damage:
        broken = f"broken.{kind.name}"
        out.append(Case("check -r all", ["check", "-r", "all", *named(broken)],
                        disks=(broken,), broken=True))
    return out


def asking(kind):
    top = f"top.{kind.name}"
    files = (["--image-opts", *SECRET, spec(top), spec("src.raw")]
             if kind.key else ["-f", kind.driver, "-F", "raw", top, "src.raw"])
    out = [
        Case("compare", ["compare", *files]),
        Case("map", ["map", "--output=json", *named(top)]),
        Case("info", ["info", *named(top)]),
        Case("measure", ["measure", "-O", "raw", *named(top)]),
    ]
    if kind.checked:
        out.append(Case("check", ["check", *named(top)]))
    return out


def chains(kind):
    base, top, other = (f"{role}.{kind.name}"
                        for role in ("base", "top", "other"))
    rebase = ["rebase", "-f", kind.driver]
    onto = ["-b", other, "-F", kind.driver, top]
    return [
        Case("commit", ["commit", "-f", kind.driver, top], changes=(base,),
             disks=(top,)),
        Case("commit -d", ["commit", "-d", "-f", kind.driver, top],
             changes=(base,), disks=(top,), through=True),
        Case("rebase", [*rebase, *onto], disks=(top,)),
        Case("rebase to nothing", [*rebase, "-b", "", top], disks=(top,)),
        Case("rebase -u", [*rebase, "-u", *onto], changes=(top,)),
    ]


def key_slots(kind):
    prefix = kind.key.removesuffix("key-secret")
    return [Case(f"amend {what}", [
        "amend", "--force", "--object", "secret,id=t,data=second",
        *named(f"top.{kind.name}"), "-o",
        ",".join(prefix + option for option in options.split())],
        disks=(f"top.{kind.name}",)) for what, options in (
            ("active", "state=active new-secret=t iter-time=0"),
            ("at 7", "state=active new-secret=t keyslot=7 iter-time=0"))]


def in_parts():
    return [Case(f"resize {name} to {size}", ["resize", "--shrink", name, size],
                 changes=(name,)) for name in IN_PARTS
            for size in ("300k", "50k")]


# ---- qcow2 -------------------------------------------------------------------

CONVERT = "convert -O qcow2 -o cluster_size=4k "
NEW = {"new": "new.qcow2"}


def qcow2():
    target = {"changes": ("target.qcow2",)}
    return [
        case("create preallocated", "create -f qcow2 -o preallocation=full,"
             "cluster_size=4k new.qcow2 64k", **NEW),
        case("convert packed", CONVERT + "-c top.qcow2 new.qcow2", **NEW),
        case("convert -t", CONVERT + "-t writeback top.qcow2 old.qcow2",
             new="old.qcow2"),
        case("convert -t, new", CONVERT + "-t writeback top.qcow2 new.qcow2",
             **NEW),
        case("convert -B", CONVERT + "-B base.qcow2 -F qcow2 top.qcow2 "
             "new.qcow2", **NEW),
        case("convert --bitmaps", CONVERT + "--bitmaps full.qcow2 new.qcow2",
             **NEW),
        case("convert -l", CONVERT + "-l one snap.qcow2 new.qcow2", **NEW),
        case("rebase -c", "rebase -c -b other.qcow2 -F qcow2 top.qcow2",
             disks=("top.qcow2",)),
        case("resize preallocated", "resize --preallocation=full target.qcow2 "
             "600k", **target),
        case("resize --shrink, snapshot", "resize --shrink snap.qcow2 50k",
             changes=("snap.qcow2",)),
        case("snapshot -c", "snapshot -c two snap.qcow2",
             disks=("snap.qcow2",)),
        case("snapshot -a", "snapshot -a one snap.qcow2",
             changes=("snap.qcow2",)),
        case("snapshot -d", "snapshot -d one snap.qcow2",
             disks=("snap.qcow2",)),
        case("snapshot -l", "snapshot -l snap.qcow2"),
        *[case("bitmap " + how, f"bitmap {how} full.qcow2 {name}",
               disks=("full.qcow2",))
          for how, name in (("--add", "b2"), ("--remove", "b0"),
                            ("--clear", "b0"), ("--disable", "b0"),
                            ("--disable --enable", "b0"),
                            ("--merge b1", "b0"))],
        *[case("amend " + how, f"amend -o {how} {name}", disks=(name,))
          for how, name in (("refcount_bits=4,lazy_refcounts=on",
                             "snap.qcow2"),
                            ("refcount_bits=64", "snap.qcow2"),
                            ("lazy_refcounts=on", "target.qcow2"),
                            ("compat=0.10", "top.qcow2"),
                            ("compat=0.10", "target.qcow2"))],
        case("amend size", "amend -o size=6M target.qcow2", **target),
        case("amend size, counts", "amend -o size=50k,refcount_bits=64 "
             "target.qcow2", **target),
        case("check -r leaks", "check -r leaks leaks.qcow2",
             disks=("leaks.qcow2",)),
        case("check -r all, counts", "check -r all counts.qcow2",
             disks=("counts.qcow2",), broken=True),
        case("check, bitmaps", "check full.qcow2"),
        case("info --backing-chain", "info --backing-chain top.qcow2"),
        case("measure qcow2", "measure -O qcow2 full.qcow2"),
    ]


def cases_of(kind):
    new = making(kind)
    for c in new:
        c.renames = kind.files > 1 and c.name.endswith(" over")
    return [*new, *writing(kind), *asking(kind),
            *(chains(kind) if kind.backing else []),
            *(key_slots(kind) if kind.key else []),
            *(in_parts() if kind.name == "vmdk" else []),
            *(qcow2() if kind.name == "qcow2" else [])]

# SPDX-License-Identifier: BSD-3-Clause
#
# The Nth system call of a command fails, for N = 1, 2, ... until there is no
# Nth; and the disk is full from the Nth call on.  The command ends, and says
# in one message what failed, or it succeeds and all is as if nothing had.
# Files that it only reads stay as they are; a new file is whole or absent, and
# what stood there before stays until then; an image that is changed in place
# has leaks at worst, and each sector of its disk is as before or as it should
# be.
#
#	commands.py IMGCTL FAILCALL FOLDER [NAME...]
#
# FAULT_STRIDE: N to go on by after the first ones.

import functools, hashlib, os, re, shutil, subprocess, sys

imgctl, failcall, folder = sys.argv[1:4]
only = sys.argv[4:]
stride = int(os.environ.get("FAULT_STRIDE", "9"))
work, start = folder + "/work", folder + "/start"
report = folder + "/report"
SECTOR = 512
SUBFORMATS = "monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"


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


# ---- what there is before ----------------------------------------------------

def make_start():
    os.mkdir(start)

    def q(*argv):
        must(*argv, cwd=start)

    q("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k",
      "base.qcow2", "256k")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 100k", "-c",
      "write -z 40k 8k", "-c", "write -P 2 200k 20k", "base.qcow2")
    shutil.copy(start + "/base.qcow2", start + "/other.qcow2")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 3 60k 60k", "other.qcow2")
    q("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k",
      "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 4 20k 30k", "-c",
      "write -P 5 90k 3k", "-c", "write -z 210k 4k", "top.qcow2")
    # One with snapshots and bitmaps.
    q("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k",
      "full.qcow2", "256k")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 6 0 128k", "full.qcow2")
    q("qemu-img", "snapshot", "-c", "one", "full.qcow2")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 7 64k 80k", "full.qcow2")
    shutil.copy(start + "/full.qcow2", start + "/snap.qcow2")
    for name in "b0", "b1":
        q("qemu-img", "bitmap", "--add", "full.qcow2", name)
        q("qemu-io", "-f", "qcow2", "-c", "write -P 8 10k 9k", "full.qcow2")
    make_parts()
    shutil.copy(start + "/base.qcow2", start + "/leaks.qcow2")
    shutil.copy(start + "/base.qcow2", start + "/counts.qcow2")
    with open(start + "/base.qcow2", "rb") as f:
        block = int.from_bytes(f.read(4096 * 3)[4096:4104], "big")
    for name, cluster, count in ("leaks", 600, 1), ("counts", 8, 0):
        with open(f"{start}/{name}.qcow2", "r+b") as f:
            f.seek(block + 2 * cluster)
            f.write(count.to_bytes(2, "big"))
            f.truncate(4096 * 601)
    # A target that exists, and bytes.
    q("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top.qcow2",
      "src.raw")
    with open(start + "/old", "wb") as f:
        f.write(b"what stood there before" * 999)
    q("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512",
      "target.qcow2", "256k")
    q("qemu-io", "-f", "qcow2", "-c", "write -P 9 128k 64k", "target.qcow2")


def make_parts():
    """VMDK disks in files of 64 KiB; the last one has 32 KiB of them."""
    for kind in SUBFORMATS:
        must("qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o",
             "subformat=" + kind, "other.qcow2", kind + "-over.vmdk",
             cwd=start)
    for kind, ending in ("flat", "bin"), ("sparse", "part"):
        lines = ""
        for i, sectors in enumerate((128, 128, 64)):
            part = f"{kind}{i}.{ending}"
            lines += f'RW {sectors} {kind.upper()} "{part}"' + (
                " 0\n" if kind == "flat" else "\n")
            if kind == "flat":
                with open(f"{start}/{part}", "wb") as f:
                    f.write(bytes([i + 1]) * sectors * SECTOR)
                continue
            must("qemu-img", "create", "-q", "-f", "vmdk", part,
                 str(sectors * SECTOR), cwd=start)
            must("qemu-io", "-f", "vmdk", "-c", f"write -P {i + 1} 0 "
                 f"{sectors * SECTOR}", part, cwd=start)
        with open(f"{start}/{kind}.vmdk", "w") as f:
            f.write("# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                    "parentCID=ffffffff\ncreateType=\"twoGbMaxExtent"
                    f"{kind.capitalize()}\"\n{lines}"
                    'ddb.geometry.heads = "16"\n')


# ---- the commands ------------------------------------------------------------

class Case:
    """
    new: the file that is made; over: its content before, a file of the start.
    changes: images that are changed in place.
    disks: images whose disk stays what it is though their file changes.
    parts: what the names of further files of theirs begin with.
    whole: the disk is all as before or all as it should be.
    broken: they are not sound before.
    """

    def __init__(self, name, argv, new=None, over=None, changes=(), disks=(),
                 broken=False, parts=None, whole=False):
        self.parts, self.whole = parts, whole
        self.name, self.argv = name, argv.split()
        self.new, self.over, self.broken = new, over, broken
        self.changes, self.disks = changes, disks


def qcow2_new(name, argv):
    return [Case(name, argv.replace("NEW", "new"), new="new"),
            Case(name + " over", argv.replace("NEW", "new"), new="new",
                 over="old")]


cases = [
    *qcow2_new("create", "create -f qcow2 -o cluster_size=4k NEW 256k"),
    Case("create preallocated", "create -f qcow2 -o preallocation=full,"
         "cluster_size=4k new 64k", new="new"),
    Case("create overlay", "create -f qcow2 -b base.qcow2 -F qcow2 new",
         new="new"),
    Case("create raw", "create -f raw new 100k", new="new", over="old"),
    *qcow2_new("convert", "convert -O qcow2 -o cluster_size=4k top.qcow2 NEW"),
    Case("convert raw", "convert -O raw top.qcow2 new", new="new", over="old"),
    Case("convert from raw", "convert -f raw -O qcow2 src.raw new", new="new"),
    Case("convert packed", "convert -c -O qcow2 -o cluster_size=4k top.qcow2 "
         "new", new="new"),
    Case("convert -t", "convert -t writeback -O qcow2 top.qcow2 new",
         new="new", over="old"),
    Case("convert -n", "convert -n -O qcow2 top.qcow2 target.qcow2",
         changes=["target.qcow2"]),
    Case("convert -B", "convert -O qcow2 -o cluster_size=4k -B base.qcow2 "
         "-F qcow2 top.qcow2 new", new="new"),
    Case("convert --bitmaps", "convert --bitmaps -O qcow2 full.qcow2 new",
         new="new"),
    Case("convert -l", "convert -l one -O qcow2 snap.qcow2 new", new="new"),
    Case("dd", "dd -f qcow2 -O qcow2 bs=8k if=top.qcow2 of=new", new="new",
         over="old"),
    Case("commit", "commit top.qcow2", changes=["base.qcow2"],
         disks=["top.qcow2"]),
    Case("commit -d", "commit -d top.qcow2", changes=["base.qcow2"],
         disks=["top.qcow2"]),
    Case("rebase", "rebase -b other.qcow2 -F qcow2 top.qcow2",
         disks=["top.qcow2"]),
    Case("rebase -c", "rebase -c -b other.qcow2 -F qcow2 top.qcow2",
         disks=["top.qcow2"]),
    Case("rebase to nothing", "rebase -b  top.qcow2", disks=["top.qcow2"]),
    Case("rebase -u", "rebase -u -b other.qcow2 -F qcow2 top.qcow2",
         changes=["top.qcow2"]),
    Case("resize", "resize target.qcow2 6M", changes=["target.qcow2"]),
    Case("resize preallocated", "resize --preallocation=full target.qcow2 "
         "600k", changes=["target.qcow2"]),
    Case("resize raw", "resize -f raw src.raw 600k", changes=["src.raw"]),
    Case("resize --shrink", "resize --shrink snap.qcow2 50k",
         changes=["snap.qcow2"]),
    *[Case(f"resize {kind} to {size}", f"resize --shrink {kind}.vmdk {size}",
           changes=[kind + ".vmdk"], parts=kind)
      for kind in ("flat", "sparse") for size in ("300k", "50k")],
    *[Case(f"convert {kind}{over}", f"convert -O vmdk -o subformat={kind} "
           f"top.qcow2 {kind}{over}.vmdk", whole=True, parts=kind + over,
           **({"changes": [f"{kind}{over}.vmdk"]} if over else
              {"new": kind + ".vmdk"}))
      for kind in SUBFORMATS for over in ("", "-over")],
    Case("create vmdk over", "create -f vmdk -o subformat=monolithicFlat "
         "monolithicFlat-over.vmdk 256k", changes=["monolithicFlat-over.vmdk"],
         whole=True, parts="monolithicFlat-over"),
    Case("amend refcount_bits", "amend -o refcount_bits=4,lazy_refcounts=on "
         "snap.qcow2", disks=["snap.qcow2"]),
    Case("amend down", "amend -o compat=0.10 top.qcow2", disks=["top.qcow2"]),
    Case("amend size", "amend -o size=50k,refcount_bits=64 target.qcow2",
         changes=["target.qcow2"]),
    Case("snapshot -c", "snapshot -c two snap.qcow2", disks=["snap.qcow2"]),
    Case("snapshot -a", "snapshot -a one snap.qcow2", changes=["snap.qcow2"]),
    Case("snapshot -d", "snapshot -d one snap.qcow2", disks=["snap.qcow2"]),
    Case("snapshot -l", "snapshot -l snap.qcow2"),
    *[Case("bitmap " + how, f"bitmap {how} full.qcow2 {name}",
           disks=["full.qcow2"])
      for how, name in (("--add", "b2"), ("--remove", "b0"),
                        ("--clear", "b0"), ("--disable", "b0"),
                        ("--disable --enable", "b0"), ("--merge b1", "b0"))],
    *[Case("amend " + how, f"amend -o {how} {name}", disks=[name])
      for how, name in (("refcount_bits=64", "snap.qcow2"),
                        ("lazy_refcounts=on", "target.qcow2"),
                        ("compat=0.10", "target.qcow2"))],
    Case("amend size", "amend -o size=6M target.qcow2",
         changes=["target.qcow2"]),
    Case("compare", "compare top.qcow2 src.raw"),
    Case("check", "check full.qcow2"),
    Case("check -r leaks", "check -r leaks leaks.qcow2",
         disks=["leaks.qcow2"]),
    Case("check -r all", "check -r all counts.qcow2", disks=["counts.qcow2"],
         broken=True),
    Case("map", "map top.qcow2"),
    Case("info", "info --backing-chain top.qcow2"),
    Case("measure", "measure -O qcow2 full.qcow2"),
    Case("bench", "bench -f qcow2 -c 20 -d 1 -S 8k top.qcow2"),
    Case("bench -w", "bench -w -f qcow2 --pattern=17 -c 20 -d 1 -S 8k "
         "--flush-interval=3 top.qcow2", changes=["top.qcow2"]),
]


# ---- what is found -----------------------------------------------------------

class Failed(Exception):
    pass


def reset(case):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work)
    if case.over:
        shutil.copy(work + "/" + case.over, work + "/" + case.new)


def fmt(name):
    return {".raw": "raw", ".vmdk": "vmdk"}.get(
        os.path.splitext(name)[1], "qcow2")


def program(name):
    """QEMU has the size of a sparse extent from its own header only."""
    return imgctl if fmt(name) == "vmdk" else "qemu-img"


def state(where):
    """Stands for what all files there hold."""
    h = hashlib.sha1()
    for name in sorted(os.listdir(where)):
        data = read_file(f"{where}/{name}")
        h.update(f"{name} {len(data)} ".encode() + data)
    return h.digest()


def disk(name, where=work):
    """The bytes of a disk, as the reference program reads them."""
    return read_disk(name, where, state(where))


@functools.lru_cache(maxsize=64)
def read_disk(name, where, _):
    if fmt(name) == "raw":
        return read_file(f"{where}/{name}")
    must(program(name), "convert", "-f", fmt(name), "-O", "raw", name,
         folder + "/disk.raw", cwd=where)
    return read_file(folder + "/disk.raw")


def check_sound(name):
    look_if_sound(name, state(work))


@functools.lru_cache(maxsize=64)
def look_if_sound(name, _):
    if fmt(name) == "raw":
        return
    done = run(program(name), "check", "-f", fmt(name), name, cwd=work)
    if done.returncode not in (0, 3):
        raise Failed(f"qemu-img check {name}: {done.stdout.decode()}")


def check_mixture(name, got, old, new):
    if len(got) not in (len(old), len(new)):
        raise Failed(f"{name} has {len(got)} bytes")
    for at in range(0, min(len(got), len(new)), SECTOR):
        end = at + SECTOR
        # Behind its old end a disk is zero until it is larger.
        was = old[at:end] or bytes(SECTOR)
        if got[at:end] not in (was, new[at:end]):
            raise Failed(f"{name}: wrong at {at}")


class Expected:
    """What a run without failures leaves."""

    def __init__(self, case):
        reset(case)
        done = run(imgctl, *argv_of(case), cwd=work)
        self.code, self.out = done.returncode, done.stdout
        if case.name not in ("compare",) and self.code:
            sys.exit(f"{case.name}: {done.stderr.decode()}")
        self.files = set(os.listdir(work))
        self.new = self.new_disk(case)
        self.disks = {n: disk(n) for n in case.changes}
        self.old = {n: disk(n, start)
                    for n in [*case.changes, *case.disks]}

    @staticmethod
    def new_disk(case):
        if not case.new:
            return None
        if case.name in ("create raw", "convert raw"):
            return read_file(work + "/new")
        return disk(case.new)


def check_order(case):
    """What is new is on disk before it gets its name, and then the name."""
    if not case.new or case.parts or case.name.split()[0] not in ("create", "dd") and \
            "-t" not in case.argv:
        return
    reset(case)
    run(imgctl, *argv_of(case), cwd=work, env=env_with({}))
    calls = [line.split() for line in read_file(report).decode().splitlines()]
    temp = [c for c in calls if c[1].startswith(".new.")]
    at = calls.index(["rename", "new"])
    if temp[-1][0] != "sync" or ["sync", "work"] not in calls[at:]:
        raise Failed(f"{case.name}: not durable: {calls}")


def env_with(how):
    if os.path.exists(report):
        os.unlink(report)
    env = dict(os.environ, LD_PRELOAD=failcall, FAILCALL_DIR=work,
               FAILCALL_REPORT=report, **how)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + \
        ":verify_asan_link_order=0"
    return env


def argv_of(case):
    argv = list(case.argv)
    if case.name == "rebase to nothing":
        argv.insert(2, "")
    return argv


def check_files(case, want, ok):
    touched = {case.new, *case.changes, *case.disks}
    for name in os.listdir(start):
        if case.parts and name.startswith(case.parts):
            continue
        if name not in touched and \
                read_file(f"{start}/{name}") != read_file(f"{work}/{name}"):
            raise Failed(f"{name} was changed")
    names = set(os.listdir(work))
    allowed = want.files if ok or case.over else want.files - {case.new}
    if case.parts and case.changes:
        return  # see check_places()
    if case.parts and not ok:
        allowed = {n for n in want.files if not n.startswith(case.parts)} | \
            set(os.listdir(start))
    if names - allowed and not (names - allowed == {case.new} and
                                case.over is None and not ok and
                                Expected.new_disk(case) == want.new):
        raise Failed(f"left behind: {names - allowed}")


def check_new(case, want, ok):
    if not case.new or not os.path.exists(f"{work}/{case.new}"):
        if ok and case.new:
            raise Failed("not there")
        return
    if not ok and case.over and \
            read_file(work + "/new") == read_file(f"{start}/{case.over}"):
        return
    if Expected.new_disk(case) != want.new:
        raise Failed("the new image is wrong")


def check_places(case, want, ok, killed):
    for name in [*case.changes, *case.disks]:
        if ok or not case.broken:
            check_sound(name)
    for name in case.changes:
        got = disk(name)
        if ok and got != want.disks[name]:
            raise Failed(f"{name} is not as it should be")
        check_mixture(name, got, want.old[name], want.disks[name])
        if case.whole and got not in (want.old[name], want.disks[name]):
            raise Failed(f"{name} has some of both")
        if case.parts and not killed and got == want.old[name]:
            left = set(os.listdir(work)) - set(os.listdir(start))
            if left:
                raise Failed(f"left behind: {left}")
    for name in case.disks:
        if case.name == "commit -d":
            continue  # reads through what is being changed
        if disk(name) != want.old[name]:
            raise Failed(f"the disk of {name} was changed")


def check_message(text, errnum):
    lines = [l for l in text.splitlines() if l.startswith("imgctl: ")]
    if len(lines) != 1:
        raise Failed(f"{len(lines)} messages")
    if os.strerror(errnum) not in lines[0]:
        raise Failed("the message does not say what happened")


def one(case, want, nth, how):
    reset(case)
    env = env_with({"FAILCALL_NTH": str(nth), **how})
    try:
        done = run(imgctl, *argv_of(case), cwd=work, env=env)
    except subprocess.TimeoutExpired:
        raise Failed("hangs")
    hit = os.path.exists(report)
    err = done.stderr.decode()
    # A check prints what it finds, too.
    ok = done.returncode == want.code and "imgctl: " not in err
    killed = done.returncode == -9 and "FAILCALL_KILL" in how
    try:
        if done.returncode not in (0, 1, 2, 3, 4, 63) and not killed:
            raise Failed(f"exit code {done.returncode}")
        if not hit and not ok:
            raise Failed("fails without a failure")
        if killed:
            pass
        elif not ok:
            check_message(err, int(how["FAILCALL_ERRNO"]))
        elif hit and re.search("^(sync|write) ",
                               read_file(report).decode(), re.M):
            raise Failed("a failure is not reported")
        if not killed:
            check_files(case, want, ok)
        check_new(case, want, ok)
        check_places(case, want, ok, killed)
    except Failed as why:
        call = read_file(report).decode().split("\n")[0] if hit else "none"
        raise Failed(f"{case.name}, call {nth} ({call}), {how}: {why}\n{err}")
    return hit


def sweep(case, how):
    want, nth = Expected(case), 1
    n = 0
    while one(case, want, nth, how):
        nth += 1 if nth < 6 else stride
        n += 1
    return n


def suffer(case):
    """The number of calls that failed."""
    check_order(case)
    return sum(sweep(case, how) for how in (
        {"FAILCALL_ERRNO": "5"},
        {"FAILCALL_ERRNO": "28", "FAILCALL_CHANGES": "1"},
        *([{"FAILCALL_KILL": "1", "FAILCALL_CHANGES": "1"}]
          if case.parts else [])))


make_start()
bad = total = 0
for case in cases:
    if only and case.name not in only:
        continue
    try:
        total += suffer(case)
    except Failed as why:
        print(why)
        bad += 1
print(f"{total} failures of calls, {bad} commands went wrong")
sys.exit(1 if bad or total < 200 and not only else 0)

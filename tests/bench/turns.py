# SPDX-License-Identifier: BSD-3-Clause
"""The same commands with imgctl and qemu-img, on the same data, in turns.

A benchmark has rows (Row) and a class that makes their data (Data), and calls
main(), which prints a table in Markdown, a line for each row and data set:

  ratio   median of qemu-img's times by that of imgctl's; in brackets the
          lowest and the highest ratio of any round
  CPU     user and system seconds of one run, medians, ours / theirs
  MiB     peak resident memory; at least what this program itself has, since
          the kernel counts from before the exec
  size    of the output: ours by theirs

Before the rounds each command runs once more with 1 GiB of address space, and
what it made or printed is verified against qemu-img.  Inputs are in the page
cache, and memory for the output was used just before.  A row that fails, or has
a wrong result, makes the exit code 1; one that is slower than wanted does not:
it has "short" in the last column.

Environment: IMGCTL, QEMU_IMG, TMPDIR.
"""
import argparse
import dataclasses
import glob
import json
import mmap
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import datasets
from datasets import GIB, KIB, MIB

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.environ.get("IMGCTL", HERE + "/../../build/ctl/imgctl")
THEIRS = os.environ.get("QEMU_IMG", "qemu-img")
STEADY = HERE + "/../lib/peers/qemu-img"  # theirs, where time does not matter
ADDRESS_SPACE = GIB
QUICK = 0.1   # seconds: what takes less is run several times a round
QUICK_N = 10


@dataclasses.dataclass
class Row:
    """In commands, {data} is a data set, {size} what --size says, {out} the
    output, {own} the tool's own copy of an image; Data.names has others."""
    name: str
    what: str
    cmd: str
    wanted: float = 0.0        # ratio of times; 0: any
    size: float = 0.0          # ratio of output sizes, at most; 0: any
    data: tuple = ("disk", "files")
    verify: str = ""           # a qemu-img command that must succeed after it
    printed: bool = False      # both print the same
    before: str = ""           # of the same tool, not timed
    after: str = ""
    mib: int = 64              # resident memory, at most


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def quiet(*args):
    done = subprocess.run(args, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(args)}: exit code {done.returncode}: "
                     f"{done.stderr.strip()}")


# ---- the data ---------------------------------------------------------------

def in_child(function, *args):
    """In a child process: what it takes is not in our own memory."""
    pid = os.fork()
    if not pid:
        try:
            function(*args)
            os._exit(0)
        except BaseException as e:
            print(f"{function.__name__}: {e}", file=sys.stderr)
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise Failed("the data could not be made")


def warm(path):
    """Read what it holds, not its holes, into the page cache."""
    with open(path, "rb", buffering=0) as f:
        hole = 0
        while True:
            try:
                at = f.seek(hole, os.SEEK_DATA)
            except OSError:
                return
            hole = f.seek(at, os.SEEK_HOLE)
            f.seek(at)
            while at < hole:
                at += len(f.read(min(MIB, hole - at)))


def free_memory():
    with open("/proc/meminfo") as f:
        table = dict(line.split(":") for line in f)
    return int(table["MemFree"].split()[0]) * KIB


def touch(length):
    """The first use of a page costs much on a virtual machine, and one that
    was freed may be given back to the host: so before every long run."""
    length = min(length, free_memory() // 4 * 3)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    in_child(lambda: mmap.mmap(-1, length, flags))


class Data:
    """Makes what a row needs, once."""
    names = {}

    def __init__(self, size):
        self.size = size

    def need(self, path):
        if not os.path.exists(path):
            self.make(path)
        warm(path)

    def make(self, path):
        """The data sets; a benchmark has more."""
        name = os.path.splitext(path)[0]
        in_child(datasets.MAKERS[name], path, self.size)

    def folder(self, row):
        """Where the data and the output of the row are, with its slash."""
        del row
        return ""

    def before(self, side):
        """Before each run of it, not timed."""

    def close(self):
        pass


# ---- running ----------------------------------------------------------------

@dataclasses.dataclass
class Result:
    wall: float
    cpu: float
    mib: float
    printed: str


def remove(stem):
    """An image, and the files beside it that it has its data in."""
    for path in glob.glob(stem + "*"):
        os.remove(path)


def run(argv, limited=False):
    """One command, or Failed."""
    if limited:
        argv = ["prlimit", f"--as={ADDRESS_SPACE}", *argv]
    with tempfile.TemporaryFile(dir=".") as out:
        began = time.monotonic()
        child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        printed = out.read().decode(errors="replace")
    if child.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {child.returncode}: "
                     f"{printed[:400].strip()}")
    return Result(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / KIB,
                  printed)


class Side:
    """One of the two programs, in one row."""

    def __init__(self, tool, row, data, where):
        mine = "ours" if tool == OURS else "theirs"
        folder = where.folder(row)
        self.out = f"{folder}out-{mine}"
        self.names = {"data": folder + data, "out": self.out,
                      "own": f"own-{mine}.qcow2", "size": str(where.size),
                      **where.names}
        self.tool, self.row, self.where = tool, row, where
        self.results, self.out_len = [], 0
        self.repeat = 1

    def argv(self, cmd):
        return [self.tool, *cmd.format(**self.names).split()]

    def files(self):
        words = [w for c in (self.row.cmd, self.row.before) for w in c.split()]
        return [w.rpartition("=")[2].format(**self.names) for w in words
                if "{" in w and "{out}" not in w and w != "{size}"]

    def once(self, limited=False):
        row = self.row
        remove(self.out)
        self.where.before(self)
        if row.before:
            tool = OURS if self.tool == OURS else STEADY
            run([tool, *self.argv(row.before)[1:]])
        if "{out}" in row.cmd and not limited:
            touch(self.where.size // 4 * 5)
        result = run(self.argv(row.cmd), limited)
        if row.verify and limited:
            run([THEIRS, *self.argv(row.verify)[1:]])
        if row.after:
            run(self.argv(row.after))
        self.out_len = sum(map(os.path.getsize, glob.glob(self.out + "*")))
        remove(self.out)
        return result

    def round(self):
        some = [self.once() for _ in range(self.repeat)]
        self.results.append(Result(
            statistics.mean(r.wall for r in some),
            statistics.mean(r.cpu for r in some),
            max(r.mib for r in some), ""))

    def median(self, what):
        return statistics.median(getattr(r, what) for r in self.results)


def as_printed(printed, like):
    """JSON without what only newer qemu-img print; lines, as many as it has."""
    if like[0] not in "[{":
        return printed[:len(like)]
    ours, theirs = json.loads(printed), json.loads(like)
    if isinstance(ours, dict):
        return ours
    keys = theirs[0].keys()
    return [{k: x[k] for k in keys if k in x} for x in ours]


def same_printed(row, ours, theirs):
    want = theirs.printed if theirs.printed[0] not in "[{" \
        else json.loads(theirs.printed)
    if as_printed(ours.printed, theirs.printed) != want:
        raise Failed(f"{row.name}: not the same output: "
                     f"{ours.printed[:300]!r} {theirs.printed[:300]!r}")


def verdict(row, ratio, size, mib):
    short = []
    if ratio < row.wanted:
        short.append("time")
    if row.size and size > row.size:
        short.append("size")
    if mib > row.mib:
        short.append("memory")
    return "short: " + ", ".join(short) if short else "ok"


def measure(row, data, rounds, where):
    ours, theirs = (Side(t, row, data, where) for t in (OURS, THEIRS))
    for path in ours.files() + theirs.files():
        where.need(path)
    first = ours.once(limited=True), theirs.once()
    if row.printed:
        same_printed(row, *first)
    if first[1].wall < QUICK and rounds > 1:
        ours.repeat = theirs.repeat = QUICK_N
    for i in range(rounds):
        for side in (ours, theirs) if i % 2 else (theirs, ours):
            side.round()
    ratios = [t.wall / o.wall for o, t in zip(ours.results, theirs.results)]
    ratio = theirs.median("wall") / ours.median("wall")
    size = ours.out_len / theirs.out_len if theirs.out_len else 0
    mib = max(r.mib for r in ours.results)
    return [
        f"{row.what}, {data}",
        f"{row.wanted:g}",
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{ours.median('wall'):.3f} / {theirs.median('wall'):.3f}",
        f"{ours.median('cpu'):.3f} / {theirs.median('cpu'):.3f}",
        f"{mib:.0f} / {max(r.mib for r in theirs.results):.0f}",
        f"{size:.3f}" if row.size else "",
        verdict(row, ratio, size, mib)]


# ---- the whole --------------------------------------------------------------

HEAD = ["work", "wanted", "ratio", "seconds", "CPU", "MiB", "size", ""]


WIDTHS = 34, 6, 22, 17, 17, 9, 5, 8


def print_line(cells, widths=WIDTHS):
    print("| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |",
          flush=True)


def print_head(args):
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
    print(f"{args.size >> 20} MiB of data, {args.rounds} rounds, "
          f"{os.cpu_count()} processors; this program has {floor:.0f} MiB\n")
    print_line(HEAD)
    print_line(["---"] * len(HEAD))


def run_rows(rows, args, where):
    failed = 0
    for row in rows:
        if args.only and row.name not in args.only:
            continue
        for data in row.data:
            try:
                print_line(measure(row, data, args.rounds, where))
            except Skipped as e:
                print_line([f"{row.what}, {data}", "", f"skipped: {e}"])
            except Failed as e:
                failed = 1
                print_line([f"{row.what}, {data}", "", f"failed: {e}"])
    return failed


def size_of(word):
    units = {"K": KIB, "M": MIB, "G": GIB}
    unit = units.get(word[-1].upper())
    return int(word[:-1]) * unit if unit else int(word)


def stop(*_):
    """As an exception, so that nothing stays mounted or in TMPDIR; once, since
    a second one would end the removal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main(doc, rows, data, size):
    """`size`: of each data set, when not said on the command line."""
    names = [r.name for r in rows]
    p = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--size", type=size_of, default=size,
                   help=f"of each data set (default: {size // GIB}G)")
    p.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    p.add_argument("--only", metavar="ROW", action="append", choices=names,
                   help="again for another one; one of\n" + ", ".join(names))
    args = p.parse_args()
    signal.signal(signal.SIGTERM, stop)
    where = data(args.size)
    with tempfile.TemporaryDirectory(prefix="imgd-bench.") as folder:
        os.chdir(folder)
        try:
            print_head(args)
            return run_rows(rows, args, where)
        finally:
            where.close()
            os.chdir("/")

# SPDX-License-Identifier: BSD-3-Clause
"""Two folders, `ours` and `theirs`, and operations on the files in both.

An operation (Op) is concrete: it names files, offsets and options, and can be
done again in a new sandbox.  Each knows how to print itself as shell commands.

kind    does
tool    the command line `args` with each tool in its folder
io      requests on one image: the reference's by qemu-io; ours by imgd and an
        NBD client (nbd), by `imgctl bench` (bench) or by qemu-io (qemu)
swap    from now on each tool works on what the other has made
adopt   the reference goes on with a copy of our files
damage  a reference count is wrong (damage.py)
"""
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from random import Random

import nbd

import damage

TIMEOUT = 120
NOISE_LEN = 256 * 1024
NOISE = Random(1).randbytes(NOISE_LEN)
MAKE_NOISE = ("python3 -c 'import random, sys; sys.stdout.buffer.write("
              f"random.Random(1).randbytes({NOISE_LEN}))' >noise")


SECRET = "secret,id=s,data=hush"


def json_name(path):
    return ('json:{"driver":"luks","key-secret":"s","file":{"driver":"file",'
            f'"filename":"{path}"}}}}')


def with_keys(argv):
    """Encrypted images are called by a name that says their key, but for those
    that are to be made."""
    if not any("luks" in a for a in argv) or argv[1] == "create":
        return argv[:2] + ["--object", SECRET] * ("luks" in argv) + argv[2:]
    at = 2 if argv[1][0] != "-" else 1  # behind the command, if there is one
    made = argv[-1:] if ("-O", "luks") in zip(argv, argv[1:]) else []
    out = argv[:at] + ["--object", SECRET]
    for arg in argv[at:len(argv) - len(made)]:
        key, eq, path = arg.rpartition("if=")
        if path.endswith(".luks"):
            out.append(key + eq + json_name(path))
        elif arg == "luks" and out[-1] in ("-f", "-F"):
            out.pop()
        else:
            out.append(arg)
    return out + made


class Difference(Exception):
    """What the two sides disagree on; `shell` are commands that show it."""

    def __init__(self, text, *shell):
        super().__init__(text)
        self.shell = shell


@dataclass
class Result:
    rc: int
    out: str
    err: str


@dataclass
class Op:
    kind: str
    args: list = field(default_factory=list)
    # Of the reference, if it knows no such option.
    theirs: list = None
    # Files that may have changed.
    touch: list = field(default_factory=list)
    # Files that are made; if that fails they are removed.
    makes: list = field(default_factory=list)
    # Is what is printed the same?
    same_out: bool = True
    # Else only the content is; then both go on with the same files: ours.
    same_map: bool = True
    # Which files they are: the reference's.
    keep_theirs: bool = False
    # We can do it, the reference refuses: it goes on with our files.
    we_can: bool = False
    # When it fails, the reference may have done a part of it: the same.
    whole: bool = False
    # From now on, host holes need not be the same.
    loose: bool = False
    # io
    fmt: str = None
    by: str = None
    requests: list = field(default_factory=list)


class Sandbox:
    def __init__(self, top, imgctl, imgd):
        self.top = top
        self.imgctl = imgctl
        self.imgd = imgd
        self.loose = False
        self.leaky = False
        self.alone = False  # could the reference not do the last one, or not well?
        self.leaks = {}  # in our image of that name, by our check
        for side in ("ours", "theirs"):
            os.makedirs(self.path(side))
            with open(self.path(side, "noise"), "wb") as f:
                f.write(NOISE)

    def path(self, side, *name):
        return os.path.join(self.top, side, *name)

    def remove(self):
        shutil.rmtree(self.top)

    def run(self, side, argv):
        argv = with_keys([self.imgctl if a == "imgctl" else a for a in argv])
        try:
            p = subprocess.run(argv, cwd=self.path(side), timeout=TIMEOUT,
                               capture_output=True, text=True,
                               stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Difference(f"{side}: no end after {TIMEOUT} seconds: "
                             f"{argv}") from None
        return Result(p.returncode, p.stdout, p.stderr)

    def both(self, op):
        return (self.run("ours", ["imgctl", *op.args]),
                self.run(their_side(op), their_tool(op)))

    def do(self, op):
        """Do it on both sides; is it done?  They must agree on that."""
        if op.kind == "swap":
            self.swap()
            return True
        if op.kind == "adopt":
            self.adopt()
            return True
        if op.kind == "damage":
            for side in ("ours", "theirs"):
                damage.damage(self.path(side, op.args[0]),
                              float(op.args[1]), int(op.args[2]))
            return True
        if op.kind == "io":
            ours = self.our_io(op)
            theirs = self.run("theirs", qemu_io(op))
        else:
            ours, theirs = self.both(op)
        self.loose |= op.loose
        self.alone = False
        if op.we_can and ours.rc == 0 != theirs.rc:
            self.go_alone()
            return True
        self.same_result(op, ours, theirs)
        if ours.rc and op.whole:
            self.adopt()
        if ours.rc:
            for name in op.makes:
                for side in ("ours", "theirs"):
                    if os.path.exists(self.path(side, name)):
                        os.unlink(self.path(side, name))
        return ours.rc == 0

    def go_alone(self):
        """What the reference cannot do, or does wrong."""
        self.alone = True
        self.adopt()

    def swap(self):
        os.rename(self.path("ours"), self.path("swap"))
        os.rename(self.path("theirs"), self.path("ours"))
        os.rename(self.path("swap"), self.path("theirs"))

    def adopt(self):
        for name in os.listdir(self.path("theirs")):
            os.unlink(self.path("theirs", name))
        for name in os.listdir(self.path("ours")):
            copy_data(self.path("ours", name), self.path("theirs", name))

    def same_result(self, op, ours, theirs):
        if ours.rc != theirs.rc:
            raise Difference(f"exit codes {ours.rc} and {theirs.rc}:\n"
                             f"{ours.out}{ours.err}---\n"
                             f"{theirs.out}{theirs.err}")
        if op.kind != "tool" or not op.same_out:
            return
        if self.loose and op.args[0] in ("measure", "compare"):
            return
        if ours.out != theirs.out and not (
                op.args[0] == "measure" and more_needed(ours.out, theirs.out)):
            raise Difference(f"printed:\n{ours.out}---\n{theirs.out}")
        if ours.rc == 0 and bool(ours.err) != bool(theirs.err):
            raise Difference(f"stderr:\n{ours.err}---\n{theirs.err}")

    def our_io(self, op):
        if op.by == "qemu":
            return self.run("ours", qemu_io(op))
        if op.by == "bench":
            for argv in bench(op):
                result = self.run("ours", argv)
                if result.rc:
                    break
            return result
        h = nbd.NBD()
        try:
            h.connect_systemd_socket_activation(with_keys(
                [self.imgd, *imgd_options(op),
                 self.path("ours", op.args[0])]))
            for req in op.requests:
                nbd_request(h, *req)
            h.shutdown()
        except nbd.Error as e:
            return Result(1, "", str(e))
        finally:
            del h  # waits for the server's end
        return Result(0, "", "")


def more_needed(ours, theirs):
    """For us a cluster that was written in part is data, and needs space; the
    reference looks for holes in it."""
    ours, theirs = ours.split("\n", 1), theirs.split("\n", 1)
    needed = [int(out[0].rsplit(":", 1)[1]) for out in (ours, theirs)]
    return needed[0] > needed[1] and ours[1] == theirs[1]


def their_side(op):
    """What follows from the map is asked of the same files: the map follows
    from what the host calls a hole."""
    return "ours" if op.args[0] in ("measure", "compare") else "theirs"


def their_tool(op):
    return ["qemu-img", *(op.theirs or op.args)]


def copy_data(src, dst):
    """With the same holes."""
    with open(src, "rb") as f, open(dst, "wb") as g:
        size, at = os.fstat(f.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # a hole to the end
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            os.pwrite(g.fileno(), os.pread(f.fileno(), end - at, at), at)
            at = end
        g.truncate(size)


def pattern(value, length):
    if value == "noise":
        return (NOISE * (length // NOISE_LEN + 1))[:length]
    return bytes([value]) * length


def nbd_request(h, what, off, length, value=None):
    if what == "write":
        h.pwrite(pattern(value, length), off)
    elif what == "zero":
        h.zero(length, off, nbd.CMD_FLAG_NO_HOLE)
    elif what == "zero-unmap":
        h.zero(length, off, 0)
    else:
        h.trim(length, off)


def imgd_options(op):
    return ["--discard=unmap", "-f", op.fmt]


def qemu_io(op):
    argv = ["qemu-io", "-f", op.fmt, "-d", "unmap"]
    for what, off, length, *value in op.requests:
        if what == "write":
            how = ("-s noise" if value[0] == "noise"
                   else f"-P {value[0]}")
            cmd = f"write -q {how} {off} {length}"
        elif what == "trim":
            cmd = f"discard -q {off} {length}"
        else:
            flags = "-z -u" if what == "zero-unmap" else "-z"
            cmd = f"write -q {flags} {off} {length}"
        argv += ["-c", cmd]
    return argv + op.args


def bench(op):
    for _, off, length, value in op.requests:
        yield ["imgctl", "bench", "-w", "-q", "-c", "1", "-d", "1",
               f"--pattern={value}", "-o", str(off), "-s", str(length),
               "-f", op.fmt, *op.args]


# ---- as shell commands ------------------------------------------------------

def in_dir(side, argv):
    argv = " ".join("$IMGCTL" if a == "imgctl" else shlex.quote(a)
                    for a in with_keys(argv))
    return f"(cd {side} && {argv})"


def nbdsh(op):
    server = with_keys(["imgd", *imgd_options(op), op.args[0]])[1:]
    server = ", ".join(map(repr, server))
    lines = ["import os; h.connect_systemd_socket_activation("
             f"[os.environ[\"IMGD\"], {server}])".replace("'", '"')]
    for what, off, length, *value in op.requests:
        if what == "write":
            data = (f"(open(\"noise\", \"rb\").read() * 99)[:{length}]"
                    if value[0] == "noise"
                    else f"bytes([{value[0]}]) * {length}")
            lines.append(f"h.pwrite({data}, {off})")
        elif what == "trim":
            lines.append(f"h.trim({length}, {off})")
        else:
            flag = "0" if what == "zero-unmap" else "nbd.CMD_FLAG_NO_HOLE"
            lines.append(f"h.zero({length}, {off}, {flag})")
    lines.append("h.shutdown()")
    return ["/usr/bin/nbdsh"] + [a for line in lines for a in ("-c", line)]


def shell(op):
    """The lines of a script that does it on both sides."""
    if op.kind == "swap":
        return ["mv ours swap; mv theirs ours; mv swap theirs"]
    if op.kind == "damage":
        return [in_dir(side, ["python3", damage.__file__, *op.args])
                for side in ("ours", "theirs")]
    if op.kind == "adopt":
        return ["rm -rf theirs; cp -a --sparse=auto ours theirs"]
    if op.kind == "tool":
        return [in_dir("ours", ["imgctl", *op.args]),
                in_dir(their_side(op), their_tool(op))]
    if op.by == "qemu":
        ours = [in_dir("ours", qemu_io(op))]
    elif op.by == "bench":
        ours = [in_dir("ours", argv) for argv in bench(op)]
    else:
        ours = [in_dir("ours", nbdsh(op))]
    return ours + [in_dir("theirs", qemu_io(op))]


def script(ops, head, difference):
    """A script that does them all, then shows the difference."""
    lines = ["#!/bin/bash", *("# " + s for s in head),
             "# Set IMGCTL and IMGD to the programs.",
             "cd \"$(mktemp -d)\" && mkdir ours theirs || exit 1",
             MAKE_NOISE, "cp noise ours; cp noise theirs",
             "PATH=/usr/bin:$PATH", "set -x"]
    for op in ops:
        lines += shell(op)
    lines += difference.shell
    return "\n".join(lines) + "\n"

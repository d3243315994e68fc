# SPDX-License-Identifier: BSD-3-Clause
"""What a command leaves, compared with what was there and what should be."""
import functools
import hashlib
import os
import re
import shutil

from images import IN_PARTS, kind_of, must, named, read_file, run

SECTOR = 512


class Failed(Exception):
    pass


def names_in(where):
    return set(os.listdir(where))


def state(where):
    """Stands for what all files there hold."""
    h = hashlib.sha1()
    for name in sorted(os.listdir(where)):
        data = read_file(f"{where}/{name}")
        h.update(f"{name} {len(data)} ".encode() + data)
    return h.digest()


class Place:
    """
    start: the files before; work: where a command runs; report: the calls that
    failed.  Disks are read by the reference where it opens them.
    """

    def __init__(self, folder, start, imgctl):
        self.folder, self.start, self.imgctl = folder, start, imgctl
        self.work, self.report = folder + "/work", folder + "/report"
        self.read = functools.lru_cache(maxsize=64)(self.read_disk)
        self.look = functools.lru_cache(maxsize=64)(self.look_if_sound)

    def reset(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.start, self.work)

    def forget_report(self):
        if os.path.exists(self.report):
            os.unlink(self.report)

    def calls(self):
        """The lines of the report: what failed, or all calls."""
        if not os.path.exists(self.report):
            return []
        return read_file(self.report).decode().splitlines()

    # ---- images ----

    def disk(self, name, where=None, closed=True):
        where = where or self.work
        return self.read(name, where, closed, state(where))

    def read_disk(self, name, where, closed, _):
        kind, out = kind_of(name), self.folder + "/disk.raw"
        ours = (name in IN_PARTS or kind.overlays_ours and name.startswith(("top", "new")) or
                kind.replays and not closed)
        done = run(self.imgctl if ours else "qemu-img", "convert", "-O", "raw",
                   *named(name), out, cwd=where)
        if done.returncode:
            raise Failed(f"{name} cannot be read: {done.stderr.decode()}")
        return read_file(out)

    def check_sound(self, name, closed):
        self.look(name, closed, state(self.work))

    def look_if_sound(self, name, closed, _):
        kind = kind_of(name)
        if not kind.checked:
            return
        done = run(self.imgctl, "check", *named(name), cwd=self.work)
        good = (0, 3) if closed or kind.driver != "parallels" else (0, 2, 3)
        if done.returncode not in good:
            raise Failed(f"check {name}: {done.stdout.decode()}"
                         f"{done.stderr.decode()}")
        if name in IN_PARTS or kind.overlays_ours or kind.counts_leaks or \
                kind.replays and not closed:
            return
        done = run("qemu-img", "check", *named(name), cwd=self.work)
        if done.returncode not in (0, 3, 63):
            raise Failed(f"qemu-img check {name}: {done.stdout.decode()}"
                         f"{done.stderr.decode()}")


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
    """What a run without failures leaves; what another one is to leave."""

    def __init__(self, place, case):
        self.place, self.case = place, case
        place.reset()
        done = run(place.imgctl, *case.argv, cwd=place.work)
        self.code, self.text = done.returncode, done.stderr.decode()
        self.made = names_in(place.work) - names_in(place.start)
        self.new = place.disk(case.new) if case.new and not self.code else None
        self.disks = {n: place.disk(n) for n in case.changes}
        self.old = {n: place.disk(n, place.start)
                    for n in [*case.changes, *case.disks]}

    def check(self, ok, killed):
        if not killed:
            self.check_files()
        self.check_new(ok)
        self.check_places(ok, killed)

    def is_as_before(self, name):
        return read_file(f"{self.place.start}/{name}") == \
            read_file(f"{self.place.work}/{name}")

    def is_part_of(self, name, image):
        """Further files have names NAME-NUMBER.*."""
        return name == image or \
            name.startswith(image.split(".")[0] + "-")

    def check_files(self):
        """Nothing else is changed, nothing is left behind."""
        place, case = self.place, self.case
        touched = [n for n in (case.new, *case.changes, *case.disks) if n]
        there = names_in(place.work)
        for name in names_in(place.start):
            if any(self.is_part_of(name, t) for t in touched):
                continue
            if name not in there or not self.is_as_before(name):
                raise Failed(f"{name} was changed")
        left = there - names_in(place.start)
        if left and left != self.made and (case.new or left - self.made):
            raise Failed(f"left behind: {left}")

    def check_new(self, ok):
        """It is whole; or, after a failure, as if nothing had been done."""
        place, name = self.place, self.case.new
        if not name:
            return
        if not os.path.exists(f"{place.work}/{name}"):
            if ok or name in names_in(place.start):
                raise Failed("not there")
            return
        if not ok and name in names_in(place.start):
            parts = [n for n in names_in(place.start)
                     if self.is_part_of(n, name)]
            if all(self.is_as_before(n) for n in parts):
                return
        got = place.disk(name)
        if got != self.new and not (
                self.case.noise and len(got) == len(self.new)):
            raise Failed("the new image is wrong")

    def check_places(self, ok, killed):
        case, disk = self.case, self.place.disk
        for name in [*case.changes, *case.disks]:
            if ok or not case.broken:
                self.place.check_sound(name, ok)
        for name in case.changes:
            got = disk(name, closed=ok)
            if ok and got != self.disks[name]:
                raise Failed(f"{name} is not as it should be")
            check_mixture(name, got, self.old[name], self.disks[name])
            if self.made and not killed and len(got) == len(self.old[name]):
                left = names_in(self.place.work) - names_in(self.place.start)
                if left:
                    raise Failed(f"left behind: {left}")
        for name in case.disks:
            if not case.through and disk(name, closed=ok) != self.old[name]:
                raise Failed(f"the disk of {name} was changed")


def check_message(case, text, errnum):
    lines = [l for l in text.splitlines() if l.startswith("imgctl: ")]
    # What a check cannot look at is one of its findings.
    if case.argv[0] == "check" and not lines:
        lines = text.splitlines()[:1]
    if len(lines) != 1:
        raise Failed(f"{len(lines)} messages")
    if os.strerror(errnum) not in lines[0]:
        raise Failed("the message does not say what happened")


def check_reported(calls):
    """Some that fail need not be heard of: a hole that is not punched."""
    for call in calls:
        if re.match("(sync|write) ", call):
            raise Failed("a failure is not reported")

# SPDX-License-Identifier: BSD-3-Clause
#
# One system call of a command fails; the disk is full from the Nth call on; the
# command is killed in the Nth call that changes a file.
# The command ends, and says in one message what failed, or it succeeds and all
# is as if nothing had.  Files that it only reads stay as they are; a new file
# is whole or absent, and what stood there before stays until then; an image
# that is changed in place has leaks at worst, and each sector of its disk is as
# before or as it should be.
#
#	commands.py IMGCTL FAILCALL FOLDER [KIND[:NAME]...]
#
# The first calls, and some of the others, of each command on each kind of image
# (images.py, cases.py).
#
# FAULT_STRIDE: one of how many calls, on average; FAULT_SEED: which.

import multiprocessing
import os
import random
import subprocess
import sys
import tempfile

from cases import cases_of
from found import Expected, Failed, Place, check_message, check_reported
from images import KINDS, Start, run

IMGCTL, FAILCALL, FOLDER = sys.argv[1:4]
ONLY = sys.argv[4:]
STRIDE = int(os.environ.get("FAULT_STRIDE", "25"))
SEED = int(os.environ.get("FAULT_SEED", "1"))
FIRST = 3  # calls of which each fails
FULL = {"FAILCALL_ERRNO": "28", "FAILCALL_CHANGES": "1"}
WAYS = ({"FAILCALL_ERRNO": "5"},
        FULL,
        {"FAILCALL_KILL": "1", "FAILCALL_CHANGES": "1"})


def run_with(place, case, how):
    place.reset()
    place.forget_report()
    env = dict(os.environ, LD_PRELOAD=FAILCALL, FAILCALL_DIR=place.work,
               FAILCALL_REPORT=place.report, **how)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + \
        ":verify_asan_link_order=0"
    try:
        return run(IMGCTL, *case.argv, cwd=place.work, env=env)
    except subprocess.TimeoutExpired:
        raise Failed("hangs") from None


def check_order(place, case):
    """What is new is on disk before it gets its name, and then the name."""
    if case.new != "new.qcow2" or case.argv[0] not in ("create", "dd") and \
            "-t" not in case.argv:
        return
    run_with(place, case, {})
    calls = [line.split() for line in place.calls()]
    temp = [c for c in calls if c[1].startswith(".new.")]
    at = calls.index(["rename", case.new])
    if temp[-1][0] != "sync" or ["sync", "work"] not in calls[at:]:
        raise Failed(f"{case.name}: not durable: {calls}")


def fail_one(place, case, want, how):
    """Did the call come?"""
    done = run_with(place, case, how)
    calls, err = place.calls(), done.stderr.decode()
    # A check prints what it finds, too.
    ok = done.returncode == want.code and "imgctl: " not in err
    killed = done.returncode == -9 and "FAILCALL_KILL" in how
    try:
        if done.returncode not in (0, 1, 2, 3, 4, 63) and not killed:
            raise Failed(f"exit code {done.returncode}")
        if not calls and not ok:
            raise Failed("fails without a failure")
        if killed:
            pass
        elif not ok:
            check_message(case, err, int(how.get("FAILCALL_ERRNO", "0")))
        else:
            check_reported(calls)
        want.check(ok, killed)
    except Failed as why:
        raise Failed(f"{case.name}: {' '.join(case.argv)}\n{how} "
                     f"({calls[0] if calls else 'none'}): {why}\n{err}"
                     ) from None
    return bool(calls)


def calls_to_fail(count, rng):
    """Numbers of calls, from 1."""
    rest = range(FIRST + 1, count + 1)
    return [*range(1, min(FIRST, count) + 1),
            *sorted(rng.sample(rest, -(-len(rest) // STRIDE)))]


def suffer(place, case, rng):
    """The number of calls that failed."""
    check_order(place, case)
    want = Expected(place, case)
    if want.code and case.argv[0] not in ("compare", "check"):
        raise Failed(f"{' '.join(case.argv)}: {want.text}")
    n = 0
    for how in WAYS:
        if how is FULL and case.renames:
            continue
        run_with(place, case, how)
        for nth in calls_to_fail(len(place.calls()), rng):
            n += fail_one(place, case, want,
                          {"FAILCALL_NTH": str(nth), **how})
    return n


def job(which):
    """(calls that failed, what is wrong or None)"""
    kind, case = which
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        place = Place(folder, f"{FOLDER}/{kind}", IMGCTL)
        rng = random.Random(f"{SEED} {kind} {case.name}")
        try:
            return suffer(place, case, rng), None
        except Failed as why:
            return 0, f"{kind}: {why}"


def is_wanted(kind, case):
    return not ONLY or kind in ONLY or f"{kind}:{case.name}" in ONLY


def main():
    jobs = [(kind.name, case) for kind in KINDS.values()
            for case in cases_of(kind) if is_wanted(kind.name, case)]
    for kind in dict(jobs):
        Start(f"{FOLDER}/{kind}", KINDS[kind], IMGCTL)
    bad = total = 0
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for n, why in pool.imap_unordered(job, jobs):
            total += n
            bad += why is not None
            if why:
                print(why, flush=True)
    print(f"{len(jobs)} commands, {total} failures of calls, "
          f"{bad} commands went wrong")
    sys.exit(1 if bad or total < 3 * len(jobs) else 0)


if __name__ == "__main__":
    main()

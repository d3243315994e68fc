# SPDX-License-Identifier: BSD-3-Clause
"""The same random operations through imgctl and qemu-img, compared after each.

	IMGCTL=... IMGD=... python3 differ.py FOLDER

A sequence is what one seed makes: operations on a few small images in two
folders (sandbox.py, generate.py).  After each operation, the images that it
may have changed are compared (state.py): content, map, check, info, snapshots,
bitmaps; what only we can do, with what it must do (model.py).  A sequence that
fails is made shorter while it still fails, and printed as a script.

$DIFFER_SEED	the first seed (default 1)
$DIFFER_N	how many (default 500)
$DIFFER_OPS	operations in a sequence (default: 6 to 12)
$DIFFER_FORMATS	formats besides raw and qcow2 (default: none)
$DIFFER_MAX	failures after which it ends (default 10)
$DIFFER_SHRINK	seconds spent on making a failing sequence shorter (default 60)
$DIFFER_JOBS	sequences at a time (default: as many as there are processors)
"""
import os
import sys
import tempfile
import time
from multiprocessing import Pool
from random import Random

import generate
import model
import state
from sandbox import Difference, Op, Sandbox, script
from state import fmt_of
from world import World

FIRST = int(os.environ.get("DIFFER_SEED", 1))
COUNT = int(os.environ.get("DIFFER_N", 500))
OPS_N = int(os.environ.get("DIFFER_OPS", 0))
SHRINK_SECONDS = int(os.environ.get("DIFFER_SHRINK", 60))
JOBS = int(os.environ.get("DIFFER_JOBS", os.cpu_count()))
FAILURES_MAX = int(os.environ.get("DIFFER_MAX", 10))


def sandbox(folder):
    top = tempfile.mkdtemp(dir=folder)
    return Sandbox(top, os.environ["IMGCTL"], os.environ["IMGD"])


def step(box, op, rng, world=None):
    """Do and compare; what the world knows is kept up to date."""
    wanted = model.expected(box, op)
    done = box.do(op)
    if done and not box.alone and model.shows_old_bytes(box, op, wanted):
        box.go_alone()
    if box.alone:
        model.same(box, wanted)
    if done and not op.same_map:
        for name in op.touch:
            state.same_bytes(box, op, name, fmt_of(name))
        if op.keep_theirs:
            box.do(Op("swap"))
        box.do(Op("adopt"))
        for name in op.touch:
            state.note_leaks(box, name, fmt_of(name))
    for name in op.touch:
        info = state.same_image(box, name, fmt_of(name), rng)
        if world:
            world.note(name, info)


def finish(box, names, rng):
    """At the end both tools look at the same files."""
    for name in names:
        state.same_tools(box, rng.choice(["ours", "theirs"]), name,
                         fmt_of(name))


def replay(folder, ops, names, seed):
    """The difference that these operations show, or None."""
    box = sandbox(folder)
    rng = Random(seed)
    done = 0
    try:
        for op in ops:
            done += 1
            step(box, op, rng)
        for side in ("ours", "theirs"):
            for name in names:
                if os.path.exists(box.path(side, name)):
                    state.same_tools(box, side, name, fmt_of(name))
    except Difference as e:
        return ops[:done], e
    finally:
        box.remove()
    return None


def smaller(ops):
    """Ways to leave something out: an operation, or a request."""
    for i in range(len(ops) - 1, -1, -1):
        yield ops[:i] + ops[i + 1:]
    for i, op in enumerate(ops):
        if len(op.requests) > 1:
            for k in range(len(op.requests)):
                rest = op.requests[:k] + op.requests[k + 1:]
                new = Op(**{**vars(op), "requests": rest})
                yield ops[:i] + [new] + ops[i + 1:]


def shrink(folder, ops, names, seed, difference):
    """Leave out what is not needed for a difference of the same kind."""
    kind = str(difference).split(":", 1)[0]
    end = time.monotonic() + SHRINK_SECONDS
    again = True
    while again and time.monotonic() < end:
        again = False
        for fewer in smaller(ops):
            if time.monotonic() > end:
                break
            found = replay(folder, fewer, names, seed)
            if found and str(found[1]).split(":", 1)[0] == kind:
                ops, difference = found
                again = True
                break
    return ops, difference


def sequence(folder, seed):
    """Returns None, or the report of a difference."""
    rng = Random(seed)
    world = World(rng)
    box = sandbox(folder)
    ops = []
    try:
        for _ in range(OPS_N or rng.randrange(6, 13)):
            for op in generate.next_ops(world):
                ops.append(op)
                step(box, op, rng, world)
        finish(box, list(world.images), rng)
        return None
    except Difference as e:
        difference = e
    finally:
        box.remove()
    names = sorted({n for op in ops for n in op.touch})
    whole = len(ops)
    ops, difference = shrink(folder, ops, names, seed, difference)
    text = str(difference)
    head = [f"seed {seed}, {len(ops)} of {whole} operations",
            *text.splitlines()]
    return script(ops, head, difference)


def job(args):
    try:
        return args[1], sequence(*args)
    except Exception as e:  # pylint: disable=broad-except
        raise RuntimeError(f"seed {args[1]}: {e!r}") from e


def quiet():
    """What servers say of requests that are to fail is of no interest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main():
    start = time.monotonic()
    failures = 0
    jobs = [(sys.argv[1], FIRST + i) for i in range(COUNT)]
    with Pool(JOBS, quiet) as pool:
        for seed, report in pool.imap_unordered(job, jobs):
            if not report:
                continue
            failures += 1
            print(f"---- seed {seed} ----\n{report}", flush=True)
            if failures >= FAILURES_MAX:
                print("too many: the rest is not run")
                break
    print(f"{COUNT} sequences from seed {FIRST} in "
          f"{time.monotonic() - start:.0f} seconds: {failures} differ")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

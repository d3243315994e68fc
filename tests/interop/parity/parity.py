# SPDX-License-Identifier: BSD-3-Clause
"""The same command lines through imgctl and qemu-img, in two equal folders.

	IMGCTL=... python3 parity.py FOLDER [SEED [N]]

A case (cases.py) is a list of lines, done one after the other in a new pair
of folders.  After each line, what is printed, the exit code and (for a
refusal) the message must be the same, but for what is meant to differ:
parity() of same.py knows it.

LINE		both tools, each in its folder
sh: LINE	the same shell command in both folders
~ LINE		both tools; only the exit code is compared

Beside the fixed cases, N (default 60) are drawn at random from SEED.
"""
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from random import Random

import cases
import same

TIMEOUT = 60


def run(tool, folder, line):
    if line.startswith("sh: "):
        argv = ["bash", "-c", line[4:]]
    else:
        argv = [tool, *shlex.split(line)]
    p = subprocess.run(argv, cwd=folder, capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False,
                       env=dict(os.environ, TZ="UTC"))
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def look(tools, folders, line):
    """The report of what differs, or None."""
    weak = line.startswith("~ ")
    line = line.removeprefix("~ ")
    got = {side: run(tools[side], folders[side], line) for side in tools}
    if weak:
        got = {side: (r[0], "", "") for side, r in got.items()}
    a, b = (same.plain(got[side], folders[side]) for side in tools)
    if same.parity(line, a, b):
        return None
    return f"$ {line}\n" + "".join(
        f"--- {side}: exit code {r[0]}\n{r[1]}{r[2]}"
        for side, r in zip(tools, (a, b)))


def case(top, lines):
    folder = tempfile.mkdtemp(dir=top)
    tools = {"ours": os.path.join(top, "bin/qemu-img"),
             "theirs": shutil.which("qemu-img")}
    folders = {side: os.path.join(folder, side) for side in tools}
    for path in folders.values():
        os.mkdir(path)
    try:
        for i, line in enumerate(lines):
            report = look(tools, folders, line)
            if report:
                return "".join(f"# {l}\n" for l in lines[:i]) + report
        return None
    finally:
        shutil.rmtree(folder)


def main():
    top = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    os.mkdir(os.path.join(top, "bin"))
    # By that name it uses that name in its messages.
    os.symlink(os.environ["IMGCTL"], os.path.join(top, "bin/qemu-img"))
    todo = [*cases.FIXED, *cases.drawn(Random(seed), count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = [r for r in pool.map(lambda c: case(top, c), todo) if r]
    for report in reports:
        print(report)
    print(f"{len(todo)} cases, {len(reports)} differ (seed {seed})")
    sys.exit(1 if reports else 0)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-3-Clause
"""
    hostile.py IMGCTL IMGD < LIST

What tests/lib/hostile.py has made is opened, looked at, checked, repaired and
written: each command takes little memory and time of the processor, ends, and
gives a right result or one message.
"""
import json
import os
import resource
import signal
import subprocess
import sys

IMGCTL, IMGD = sys.argv[1:]
READ_ONLY = "bochs", "cloop", "dmg"
MOST = 1 << 16
DISK_KIB = 1 << 20  # what a repair may add


def sanitized():
    return not subprocess.call(["grep", "-qaE", "__[at]san_init", IMGCTL])


SECONDS, KIB = (200, 4 << 20) if sanitized() else (20, 1 << 16)


def end_of(path):
    """Not all of it: what this process takes counts for the next one, too."""
    with open(path, "rb") as f:
        if f.seek(max(0, os.stat(path).st_size - MOST)):
            f.readline()
        return f.read().decode(errors="replace")


def limit_time():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def run(codes, *cmd):
    """What it printed; it ended in the limits with one of these codes."""
    with open("out", "wb") as out, open("err", "wb") as err:
        p = subprocess.Popen(cmd, stdout=out, stderr=err,
                             preexec_fn=limit_time)
    signal.signal(signal.SIGALRM, lambda *_: p.kill())
    signal.alarm(6 * SECONDS)
    _, status, usage = os.wait4(p.pid, 0)
    signal.alarm(0)
    p.returncode = os.waitstatus_to_exitcode(status)
    said = [end_of("out"), end_of("err")]
    if p.returncode not in codes or usage.ru_maxrss > KIB:
        sys.exit(f"{' '.join(cmd)}: ended with {p.returncode}, "
                 f"{usage.ru_maxrss} KiB\n" + "\n".join(s[-2000:] for s in said))
    return p.returncode, *said


def one_message(cmd, err, *texts):
    """And a hint, perhaps; a check may have said what else it found."""
    lines = [x for x in err.splitlines() if not x.startswith("ERROR")]
    if not 1 <= len(lines) <= 2 or any(t not in err for t in texts):
        sys.exit(f"{cmd}: not one message with {texts}:\n{err}")


def refused(image, fmt, text):
    same = [image, "-F", fmt]
    for cmd in (["info"], ["check"], ["map"], ["compare"] + same,
                ["measure", "-O", "qcow2"], ["bench", "-c", "1"],
                ["bench", "-w", "-c", "1"]):
        if "-w" in cmd and fmt in READ_ONLY:
            continue
        code = 2 if cmd[0] == "compare" else 1
        one_message(cmd, run([code], IMGCTL, *cmd, "-f", fmt, image)[2], image,
                    *text)
    for cmd in ([IMGCTL, "convert", "-f", fmt, "-O", "raw", image, "raw"],
                [IMGD, "-r", "--socket=" + os.path.abspath("sock"), "-f", fmt,
                 image]):
        one_message(cmd, run([1], *cmd)[2], image, *text)


def look(image, fmt, size, texts):
    """Of a disk whose map and copy are not too large."""
    for cmd in ["map", "--output=json"], ["measure", "-O", "qcow2"], \
            ["compare", image, "-F", fmt]:
        code, _, err = run([0, 1, 2, 3, 4], IMGCTL, *cmd, "-f", fmt, image)
        if code:
            one_message(cmd, err)
    code, _, err = run([0, 1], IMGCTL, "convert", "-f", fmt, "-O", "raw",
                       image, "raw")
    if code:
        one_message("convert", err, image, *texts)
    elif texts:
        sys.exit(f"{image}: a copy does not say {texts}")
    elif os.stat("raw").st_size != size:
        sys.exit(f"{image}: the copy has another length")


def blocks_kib(path):
    return os.stat(path).st_blocks // 2


def opened(image, fmt, size, code, found, copied):
    failed, out, err = run([0, 1], IMGCTL, "info", "--output=json", "-f", fmt,
                           image)
    if failed:  # it lists what is damaged
        one_message("info", err, image, *found)
    elif json.loads(out)["virtual-size"] != size:
        sys.exit(f"{image}: the size is wrong")
    err = run([code], IMGCTL, "check", "-f", fmt, image)[2]
    if found and code == 1:
        one_message("check", err, image, *found)
    elif any(t not in err for t in found):
        sys.exit(f"check {image}: does not find {found}:\n{err}")
    if size <= 1 << 26:
        look(image, fmt, size, copied)
    if fmt in READ_ONLY:
        return
    before = blocks_kib(image)
    run([0, 1], IMGCTL, "bench", "-w", "-c", "1", "-s", "512", "-f", fmt,
        image)
    run([0, 1, 2, 3], IMGCTL, "check", "-r", "all", "-f", fmt, image)
    if blocks_kib(image) > before + DISK_KIB:
        sys.exit(f"{image}: a repair has filled the disk")


for line in sys.stdin:
    image, fmt, size, code, text = line.rstrip("\n").split(" ", 4)
    found, copied = ([t for t in half.split(" & ") if t]
                     for half in text.partition(" @ ")[::2])
    if size == "refused":
        refused(image, fmt, found)
    else:
        opened(image, fmt, int(size), int(code), found, copied)
    os.unlink(image)

# SPDX-License-Identifier: BSD-3-Clause
"""The data of the benchmarks, made of nothing but a size.

"disk": 40 % incompressible, 20 % like text, 40 % zero (half of that holes, half
written zeroes), in stretches of 64 KiB to 4 MiB; the same bytes each time.
"files": an ext4 file system, half filled with files of this machine's /usr.
"sparse": 16 times as large, one part in 64 incompressible, the others holes.
"""
import os
import random
import shutil
import subprocess
import tempfile

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def text_pool(rnd, length):
    """Paragraphs of invented words, some much more frequent than others, and
    lines of a log."""
    parts = [a + b for a in "b c d f g k l m n p r s t v th st".split()
             for b in "a e i o u ar en is on".split()]
    words = ["".join(rnd.choices(parts, k=rnd.choice((1, 2, 2, 3, 4))))
             for _ in range(20000)]
    weights = [1 / (i + 5) for i in range(len(words))]
    pool, made = [], 0
    while made < length:
        some = rnd.choices(words, weights, k=120)
        if rnd.random() < 0.3:
            line = "\n".join(
                f"2024-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02} "
                f"{some[i]}[{rnd.randint(1, 32000)}]: {' '.join(some[i:i + 8])}"
                for i in range(0, 120, 8))
        else:
            line = " ".join(some).capitalize() + ".\n"
        pool.append(line.encode())
        made += len(pool[-1])
    return pool


def text(rnd, pool, length):
    out = b"\n".join(rnd.choices(pool, k=length // len(pool[0]) + 1))
    while len(out) < length:
        out += b"\n" + rnd.choice(pool)
    return out[:length]


def make_disk(path, size):
    rnd = random.Random(1)
    pool = text_pool(rnd, min(8 * MIB, size // 8))
    longest = max(1, min(64, size // (512 * KIB)))
    kinds = "random", "text", "zero", "random", "hole"
    with open(path, "wb") as f:
        at, turn = 0, 0
        while at < size:
            length = rnd.randint(1, longest) * 64 * KIB
            for kind in kinds:
                n = min(length, size - at)
                f.seek(at)
                if kind == "random":
                    f.write(rnd.randbytes(n))
                elif kind == "text":
                    f.write(text(rnd, pool, n))
                elif kind == "zero":
                    f.write(bytes(n))
                at += n
        f.truncate(size)


def stage_files(folder, budget):
    """Real files, as many as the budget allows."""
    n = 0
    for top in "/usr/bin", "/usr/share", "/usr/lib":
        left = budget // 3
        for where, dirs, files in os.walk(top):
            dirs.sort()
            for name in sorted(files):
                path = os.path.join(where, name)
                if os.path.islink(path) or not os.access(path, os.R_OK):
                    continue
                left -= os.path.getsize(path) + 4 * KIB
                if left < 0:
                    break
                # Few large folders: the names do not matter here.
                sub = f"{folder}/{n // 500}"
                os.makedirs(sub, exist_ok=True)
                shutil.copyfile(path, f"{sub}/{n}")
                n += 1
            if left < 0:
                break


def make_files(path, size):
    with tempfile.TemporaryDirectory(dir=".") as folder:
        stage_files(folder, size // 2)
        with open(path, "wb") as f:
            f.truncate(size)
        subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", folder,
                        path], check=True)


def make_sparse(path, size):
    rnd = random.Random(1)
    step = max(64 * KIB, min(64 * MIB, size // 4))
    with open(path, "wb") as f:
        for at in range(0, 16 * size, step):
            f.seek(at)
            f.write(rnd.randbytes(step // 64))
        f.truncate(16 * size)


MAKERS = {"disk": make_disk, "files": make_files, "sparse": make_sparse}

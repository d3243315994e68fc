# SPDX-License-Identifier: BSD-3-Clause
"""When two answers are the same: what differs each time is masked, what is
meant to differ is left out."""
import json
import re

# What a tool draws by chance, or what depends on the file system.
MASKS = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"(?m)^( +(?:parent )?cid: )\d+", r"\1N"),
    (r"(?m)^( +(?:master key )?iters: )\d+", r"\1N"),
    (r"(?m)^( *disk size: ).*", r"\1N"),
    (r"(    \(\d+\.\d\d/100%\)\r)+", "PROGRESS"),
    (r"\d+\.\d+% fragmented", "N% fragmented"),
]
# Newer versions of the reference print this, and so do we.
NEWER = [
    (r"(?ms)^Child node .*?(?=^\S(?!hild node)|\Z)", ""),
    (r', "compressed": (false|true)', ""),
    (r"(?m)^ *detached header: false\n", ""),
    (r"(?m)^ *\n", ""),
    (r"(?m)^qemu-img: kilobytes", "kilobytes"),
]
# Writes out of order (convert -W) fall where they may.
OTHER_KEYS = {"children", "detached-header", "fragmented-clusters"}
CHANCE_KEYS = {"actual-size", "cid", "parent-cid", "iters", "uuid",
               "master-key-iters"}


def tree(x):
    if isinstance(x, list):
        return [tree(y) for y in x]
    if isinstance(x, dict):
        return {k: 0 if k in CHANCE_KEYS else tree(v)
                for k, v in x.items() if k not in OTHER_KEYS}
    return x


def text(s, folder):
    s = s.replace(folder, "DIR")
    if s.startswith(("{", "[\n")):
        return json.dumps(tree(json.loads(s)), indent=1, sort_keys=True)
    for pattern, new in MASKS + NEWER:
        s = re.sub(pattern, new, s)
    return s


def plain(result, folder):
    rc, out, err = result
    return rc, text(out, folder), text(err, folder)


def parity(line, ours, theirs):
    if ours == theirs:
        return True
    # More formats can be checked.
    return line.startswith("check") and theirs[0] == 63 and ours[0] == 0

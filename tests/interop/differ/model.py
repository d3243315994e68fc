# SPDX-License-Identifier: BSD-3-Clause
"""What an operation must make of the disks, where the reference cannot do it:
told from what the reference read before, and read by it afterwards."""
import state
from sandbox import Difference


def read(box, name):
    return state.content(box, "theirs", "qemu-img", name, state.fmt_of(name))[0]


def resized(box, op):
    name, size = op.args[-2], int(op.args[-1])
    return {name: read(box, name)[:size].ljust(size, b"\0")}


def committed(box, op):
    top, base = op.touch
    data = read(box, top)
    return {top: data, base: data + read(box, base)[len(data):]}


def rebased(box, op):
    return {} if "-u" in op.args else {op.args[-1]: read(box, op.args[-1])}


def converted(box, op):
    """Of one source, whole."""
    *args, source, target = op.args
    if "-l" in args or "-n" in args or args[-1].endswith(state.fmt_of(source)):
        return {}
    return {target: read(box, source)}


RULES = {"resize": resized, "commit": committed, "rebase": rebased,
         "convert": converted}


def expected(box, op):
    """Contents by name, or nothing."""
    if not op.we_can or op.args[0] not in RULES:
        return {}
    return RULES[op.args[0]](box, op)


def same(box, wanted):
    """A format may round a size up."""
    for name, data in wanted.items():
        got = read(box, name)
        if got[:len(data)] != data or got.count(0, len(data)) != \
                len(got) - len(data) or len(got) - len(data) > 1 << 20:
            raise Difference(f"model of {name}: lengths {len(got)} and "
                             f"{len(data)}, not what it must be")


def shows_old_bytes(box, op, wanted):
    """Metadata that is preallocated in clusters that were free: the reference
    lets the disk show what they held."""
    return "--preallocation=metadata" in op.args and any(
        read(box, name) != data for name, data in wanted.items())

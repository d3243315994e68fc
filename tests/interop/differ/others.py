# SPDX-License-Identifier: BSD-3-Clause
"""Formats besides raw and qcow2: their options, and what holds for them.

Where their data lies, and what they keep of zeroes, is each program's own way:
only contents and info are compared after an operation, then both go on with the
files of one of them, and everything is compared on these.

BACKED: can have a backing file, by both programs.
OURS: we make them and both use them: the reference needs seconds for a key, and
what is not written is noise that depends on it.
LEAKING: nothing in the file says which clusters are in use; we leave leaks.
"""
import os

FORMATS = ["vmdk", "vpc", "vhdx", "vdi", "qed", "qcow", "parallels",
           "luks"]
BACKED = ["qcow2", "vmdk", "qed", "qcow"]
OURS = ["luks"]
REFUSED = ["no-command"]
LEAKING = ["qed", "qcow", "vpc"]
MIB = 1024 * 1024


def wanted():
    """The formats besides raw and qcow2."""
    return os.environ.get("DIFFER_FORMATS", "").split()


def vmdk_options(r, backing, packed):
    kinds = ["monolithicSparse"]
    if packed:
        kinds = ["streamOptimized"]
    elif not backing:
        kinds += ["monolithicFlat", "twoGbMaxExtentSparse",
                  "twoGbMaxExtentFlat"]
    out = ["subformat=" + r.choice(kinds)]
    if r.random() < .3 and "Flat" not in out[0]:
        out.append("zeroed_grain=on")
    return out


def options(r, fmt, backing=None, packed=False):
    """Random -o options."""
    if fmt == "vmdk":
        return vmdk_options(r, backing, packed)
    if fmt == "vpc":
        return [f"subformat={r.choice(['dynamic', 'dynamic', 'fixed'])}",
                f"force_size={r.choice(['on', 'on', 'off'])}"]
    if fmt == "vhdx":
        return [f"subformat={r.choice(['dynamic', 'dynamic', 'fixed'])}",
                f"block_size={r.choice([1, 1, 2])}M", "log_size=1M",
                f"block_state_zero={r.choice(['on', 'off'])}"]
    if fmt == "vdi":
        return [f"static={r.choice(['on', 'off', 'off'])}"]
    if fmt == "qed":
        return [f"cluster_size={r.choice([4096, 16384, 65536])}",
                f"table_size={r.choice([2, 4, 16])}"]
    if fmt == "luks":
        return ["key-secret=s", "iter-time=10"]
    if fmt == "parallels":
        return [f"cluster_size={r.choice([4096, 65536, MIB])}"]
    return []


def is_other(image):
    return image.fmt in FORMATS


def is_base(image):
    """Can others be above it?  A name that is recorded says no key."""
    return image.fmt != "luks"


def is_written(image):
    """By requests: the reference writes no streams."""
    return not image.stream


def with_sure_trims(requests):
    """What is trimmed may stay or be zero: it is made zero afterwards."""
    out = []
    for what, *rest in requests:
        out.append((what, *rest))
        if what == "trim":
            out.append(("zero", *rest))
    return out


def is_loose_base(world, image, but=None):
    """VMDK overlays know when their base has been written."""
    return not any(world.images[n].fmt == "vmdk"
                   for n in world.users(image.name) if not but or n != but.name)


def any_in_chain(world, image):
    return any(is_other(world.images[n]) for n in world.chain(image.name))

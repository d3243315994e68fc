# SPDX-License-Identifier: BSD-3-Clause
"""What can be seen of an image, from outside, and how two of them compare.

What is left out or made equal before the tools' answers are compared:

info    actual-size (how the host stores it), children (the reference prints
        none before 8.0), dates and clocks of snapshots; virtual sizes of raw
        images are rounded up to 512, as the reference does.
map     "compressed" (printed since 8.2).  "offset" of what is not present (the
        reference tells where a cluster is of which only other subclusters are
        used).  "zero" of what is data: how much the tool knows of holes in the
        file.
        Between the folders, where clusters lie is the tool's choice: "offset"
        counts as there or not, neighbours that are then the same are merged,
        and zeroes have none: a tool keeps their space or not.
        "zero" and "data" at all after an operation that is `loose`: what the
        host calls a hole in space that was made by falloc or as preallocated
        metadata, or zeroed without unmap, depends on what has been read; what
        is zeroed in a data file stays data for us; and -C copies holes
        between data or not.
measure, compare
        print what follows from the map: both tools are asked of our files.
        What is required may be more by us; nothing after `loose` operations.
check   between the folders, image-end-offset, fragmented-clusters and
        allocated-clusters (which counts space behind zeroes), for the same
        reasons; compressed-clusters: where two inputs meet in a cluster, the
        reference may compress what we leave out.  Leaks that the reference
        alone makes.
commit  the reference copies at least 4 KiB, or a cluster of the base, as data;
        we what the image has, without zeroes: content and info are compared,
        then the reference goes on with our files.  The same with other
        operations that have `same_map` false (generate.py says why).
bitmaps the bits are read from the file (bitmaps.py), as ranges of the disk.

What our map says is zero must be zero, and where it says that data lies must
be that data; so of VHDX, of which the reference's map says nothing.  Both tools
on the same file must say the same, with offsets and all.
"""
import copy
import json
import os

import bitmaps
import others
from sandbox import Difference, in_dir

HIDDEN_IN_INFO = {"actual-size", "children"}
HIDDEN_IN_SNAPSHOT = {"date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec"}
HIDDEN_IN_CHECK = {"image-end-offset", "fragmented-clusters",
                   "allocated-clusters", "compressed-clusters"}


def fmt_of(name):
    return name.rsplit(".", 1)[1]


def without(keys, members):
    return {k: v for k, v in members.items() if k not in keys}


def plain_info(info, exact):
    info = without(HIDDEN_IN_INFO, info)
    # Identifiers, and names of extents with their folder.
    if info["format"] in others.FORMATS and not exact:
        info.pop("format-specific", None)
    if info["format"] == "raw":
        info["virtual-size"] = -(-info["virtual-size"] // 512) * 512
        info.pop("format-specific", None)
    if info["format"] == "luks" and exact:  # newer versions print this
        info["format-specific"]["data"].pop("detached-header", None)
    if "snapshots" in info:
        info["snapshots"] = [without(HIDDEN_IN_SNAPSHOT, s)
                             for s in info["snapshots"]]
    return info


def plain_map(rows, exact):
    for row in rows:
        row.pop("compressed", None)
        row["zero"] &= not row["data"]
        if not row["present"]:
            row.pop("offset", None)
        if not exact:
            row["offset"] = row["data"] and "offset" in row
    return merged(rows)


def merged(rows):
    out = []
    for row in rows:
        last = out[-1] if out else None
        if last and continues(last, row):
            last["length"] += row["length"]
        else:
            out.append(row)
    return out


def continues(last, row):
    place = {"start", "length", "offset"}
    if without(place, last) != without(place, row):
        return False
    here, there = last.get("offset"), row.get("offset")
    if isinstance(here, bool) or None in (here, there):
        return here == there
    return here + last["length"] == there


def plain_check(report, exact):
    return report if exact else without(HIDDEN_IN_CHECK, report)


# Name, what makes it comparable, exit codes with which there is an answer.
VIEWS = {
    "info": (plain_info, (0,)),
    "map": (plain_map, (0,)),
    "check": (plain_check, (0, 2, 3)),
}


def view_args(view, name, fmt):
    args = [view, "--output=json", "-f", fmt, name]
    return args


def look(box, side, tool, view, name, fmt):
    """(exit code, answer)"""
    result = box.run(side, [tool, *view_args(view, name, fmt)])
    if result.rc not in VIEWS[view][1]:
        return result.rc, None
    return result.rc, json.loads(result.out)


def lines(answer):
    if isinstance(answer, list):
        return [json.dumps(row) for row in answer]
    if isinstance(answer, dict):
        return [f"{k}: {json.dumps(v)}" for k, v in sorted(answer.items())]
    return [str(answer)]


def diff(ours, theirs):
    a, b = lines(ours), lines(theirs)
    text = [f"ours   {s}" for s in a if s not in b]
    text += [f"theirs {s}" for s in b if s not in a]
    return "\n".join(text[:30]) or f"{ours} / {theirs}"


def forget_leaks(box, codes, reports):
    leaks = [r and r.get("leaks", 0) for r in reports]
    box.leaky |= not leaks[0] and bool(leaks[1])
    if not box.leaky:
        return codes, reports
    return ([0 if c == 3 else c for c in codes],
            [r and without({"leaks"}, r) for r in reports])


def same_view(box, view, name, fmt, places):
    """`places`: two pairs (folder, tool) that must give the same answer.
    Returns the first one's, as it is."""
    exact = places[0][0] == places[1][0]
    codes, answers = zip(*(look(box, side, tool, view, name, fmt)
                           for side, tool in places))
    plain = [a and VIEWS[view][0](copy.deepcopy(a), exact) for a in answers]
    if view == "map" and box.loose:
        hidden = {"zero", "data", "offset"}
        plain = [a and merged([without(hidden, row) for row in a])
                 for a in plain]
    if view == "check" and not exact:
        codes, plain = forget_leaks(box, codes, plain)
    if codes[0] != codes[1] or plain[0] != plain[1]:
        text = (f"exit codes {codes[0]} and {codes[1]}\n"
                if codes[0] != codes[1] else "")
        raise Difference(
            f"{view} of {name}{' by both tools' if exact else ''}:\n{text}" +
            diff(*plain),
            *(in_dir(side, [tool, *view_args(view, name, fmt)])
              for side, tool in places))
    return answers[0]


def same_bitmaps(box, name):
    ours, theirs = (bitmaps.read(box.path(side, name))
                    for side in ("ours", "theirs"))
    if ours != theirs:
        raise Difference(f"bitmaps of {name}:\n" + diff(ours, theirs))


def content(box, side, tool, name, fmt):
    args = ["convert", "-f", fmt, "-O", "raw", name, f"../{side}.raw"]
    result = box.run(side, [tool, *args])
    if result.rc:
        raise Difference(f"{name} cannot be read by {tool}: {result.err}",
                         in_dir(side, [tool, *args]))
    with open(box.path(f"{side}.raw"), "rb") as f:
        return f.read(), in_dir(side, [tool, *args])


def same_content(box, name, fmt, tools):
    """Read ours and theirs with these two tools; returns it."""
    (ours, one), (theirs, two) = (
        content(box, side, tool, name, fmt)
        for side, tool in zip(("ours", "theirs"), tools))
    if ours != theirs:
        lens = len(ours), len(theirs)
        at = next((i for i in range(0, max(lens), 512)
                   if ours[i:i + 512] != theirs[i:i + 512]), None)
        raise Difference(f"content of {name}, by {tools}: lengths {lens}, "
                         f"sector {at}", one, two, "cmp ours.raw theirs.raw")
    return ours


def zero_is_zero(rows, data, name):
    for row in rows:
        part = data[row["start"]:row["start"] + row["length"]]
        if row["zero"] and part.count(0) != len(part):
            raise Difference(f"map of {name} says zero where is data: {row}")


def data_is_there(box, rows, data, name):
    """What the map says where the bytes are, in an image of one file."""
    with open(box.path("ours", name), "rb") as f:
        head = f.read(4)
        if os.path.exists(box.path("ours", name + ".data")) or \
                fmt_of(name) == "vmdk" and head != b"KDMV":
            return
        for row in rows:
            if row["zero"] or row["depth"] or row.get("compressed") or \
                    "offset" not in row:
                continue
            f.seek(row["offset"])
            there = f.read(row["length"]).ljust(row["length"], b"\0")
            if there != data[row["start"]:row["start"] + row["length"]]:
                raise Difference(f"map of {name}: other bytes there: {row}")


def true_map(box, name, fmt, data):
    """Ours alone: it covers the disk and tells the truth."""
    code, rows = look(box, "ours", "imgctl", "map", name, fmt)
    ends = [0] + [row["start"] + row["length"] for row in rows or []]
    if code or ends[-1] != len(data) or \
            ends[:-1] != [row["start"] for row in rows]:
        raise Difference(f"map of {name}: {code}: {rows}")
    zero_is_zero(rows, data, name)
    data_is_there(box, rows, data, name)


OWN = (("ours", "imgctl"), ("theirs", "qemu-img"))


def has_map(box, name, fmt):
    """For the reference all of a VHDX disk is data."""
    if not any(n.endswith(".vhdx") for n in os.listdir(box.path("theirs"))):
        return True
    args = ["info", "--backing-chain", "--output=json", "-f", fmt, name]
    result = box.run("theirs", ["qemu-img", *args])
    return result.rc == 0 and all(i["format"] != "vhdx"
                                  for i in json.loads(result.out))


def leaks_of(box, side, tool, name, fmt):
    """How many clusters leak; 0 if the program has no check for the format."""
    args = [tool, "check", "--output=json", "-f", fmt, name]
    result = box.run(side, args)
    if result.rc not in (0, 3, 63):
        raise Difference(f"check of {name}: {result.rc}: {result.out}"
                         f"{result.err}", in_dir(side, args))
    return json.loads(result.out)["leaks"] if result.rc == 3 else 0


def is_sound(box, op, name, fmt):
    """Each program of what it works on.  We make no leaks (the reference does)
    but of what becomes zero or is cut off, where a format counts no clusters
    in use; there they stay."""
    leaks = leaks_of(box, "ours", "imgctl", name, fmt)
    before = 0 if op.args[0] in ("create", "dd") or name in op.makes else \
        box.leaks.get(name, 0)
    drops = (op.args[0] in ("resize", "commit", "rebase") or "-n" in op.args or
             any(r[0] != "write" for r in op.requests))
    if leaks > before and not (drops and fmt in others.LEAKING):
        raise Difference(f"leaks in {name}: {leaks}", in_dir(
            "ours", ["imgctl", "check", "-f", fmt, name]))
    leaks_of(box, "theirs", "qemu-img", name, fmt)


def note_leaks(box, name, fmt):
    """Of the file with which both go on."""
    if fmt in others.FORMATS and os.path.exists(box.path("ours", name)):
        box.leaks[name] = leaks_of(box, "ours", "imgctl", name, fmt)


def same_image(box, name, fmt, rng):
    """Compare the two images of that name; returns what `info` says, or None
    if there is no image (both agree on that)."""
    there = [os.path.exists(box.path(s, name)) for s in ("ours", "theirs")]
    if there[0] != there[1]:
        raise Difference(f"{name} is there: {there[0]} and {there[1]}")
    if not there[0]:
        return None
    info = same_view(box, "info", name, fmt, OWN)
    if info is None:
        return None
    if not has_map(box, name, fmt):
        data = same_content(box, name, fmt, ["imgctl", "qemu-img"])
        true_map(box, name, fmt, data)
        return info
    rows = same_view(box, "map", name, fmt, OWN)
    if rows is None:
        return info
    tools = ["imgctl", "qemu-img"]
    rng.shuffle(tools)
    data = same_content(box, name, fmt, tools)
    zero_is_zero(rows, data, name)
    data_is_there(box, rows, data, name)
    if fmt == "qcow2":
        same_view(box, "check", name, fmt, OWN)
        same_bitmaps(box, name)
    return info


def same_bytes(box, op, name, fmt):
    """After what may leave another map: what the image reads and says."""
    info = same_view(box, "info", name, fmt, OWN)
    if info and fmt in others.FORMATS:
        is_sound(box, op, name, fmt)
    same_content(box, name, fmt, ["qemu-img"] * 2)


def same_tools(box, side, name, fmt):
    """Both tools on the same file."""
    places = ((side, "imgctl"), (side, "qemu-img"))
    for view in VIEWS:
        if view == "map" and not has_map(box, name, fmt) or \
                view == "check" and fmt in others.FORMATS:
            continue
        same_view(box, view, name, fmt, places)

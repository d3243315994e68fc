# SPDX-License-Identifier: BSD-3-Clause
"""Print the map of an export as imgctl map --output=json prints an image's.

usage: nbd-map.py SOCKET [LEN]

LEN: ask for so many bytes at a time.
"""
import json
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), "../lib"))
from nbdext import Peer


def row(start, length, status):
    r = {"start": start, "length": length, "depth": status >> 5 & 0x7ff,
         "present": bool(status & 4), "zero": bool(status & 2),
         "data": bool(status & 1), "compressed": bool(status & 8)}
    if status & 16:
        r["offset"] = status >> 16
    return r


def joins(a, b):
    """Is b what a goes on with?"""
    place = dict(a, start=b["start"], length=b["length"])
    if "offset" in a:
        place["offset"] = a["offset"] + a["length"]
    return place == b


peer = Peer(sys.argv[1])
peer.set_context(b"imgd:map")
peer.go()
step = int(sys.argv[2]) if len(sys.argv) > 2 else peer.size
rows, off = [], 0
while off < peer.size:
    for length, status in peer.status(off, min(step, peer.size - off)):
        new = row(off, length, status)
        if rows and joins(rows[-1], new):
            rows[-1]["length"] += length
        else:
            rows.append(new)
        off += length
json.dump(rows, sys.stdout)

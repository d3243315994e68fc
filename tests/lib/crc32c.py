# SPDX-License-Identifier: BSD-3-Clause
"""CRC-32C, the checksum of what a VHDX image has in its metadata."""


def table():
    out = []
    for c in range(256):
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
        out.append(c)
    return out


TABLE = table()


def crc32c(data):
    c = 0xffffffff
    for b in data:
        c = c >> 8 ^ TABLE[(c ^ b) & 255]
    return c ^ 0xffffffff


def sealed(buf):
    """With its checksum at byte 4."""
    out = bytearray(buf)
    out[4:8] = bytes(4)
    out[4:8] = crc32c(out).to_bytes(4, "little")
    return bytes(out)

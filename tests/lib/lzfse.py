# SPDX-License-Identifier: BSD-3-Clause
"""
Encoders of LZFSE streams (all kinds of blocks) and of ADC, for tests: simple,
slow, and no good at compressing.
"""
import struct

L_MORE = [0] * 16 + [2, 3, 5, 8]
M_MORE = [0] * 16 + [3, 5, 8, 11]
D_MORE = [s // 4 for s in range(64)]
NONE = [0] * 256


def bases(more):
    out, base = [], 0
    for n in more:
        out.append(base)
        base += 1 << n
    return out


def matches(data, least, most, furthest, literals_most):
    """(literals, match length, distance), one after the other, for all of data;
    the last one may have no match."""
    seen, at, start, out = {}, 0, 0, []
    while at < len(data):
        key = data[at:at + least]
        old = seen.get(key)
        seen[key] = at
        n = 0
        if old is not None and len(key) == least and at - old <= furthest:
            while n < most and at + n < len(data) and \
                    data[old + n] == data[at + n]:
                n += 1
        if n >= least:
            out.append((data[start:at], n, at - old))
            at += n
            start = at
        else:
            at += 1
            if at - start == literals_most:
                out.append((data[start:at], 0, 0))
                start = at
    if start < at:
        out.append((data[start:at], 0, 0))
    return out


def adc(data):
    out = bytearray()
    for literals, n, distance in matches(data, 4, 67, 65536, 128):
        if literals:
            out += bytes([0x80 | len(literals) - 1]) + literals
        if not n:
            continue
        d = distance - 1
        if n <= 18 and d < 1024:
            out += bytes([n - 3 << 2 | d >> 8, d & 255])
        else:
            out += bytes([0x40 | n - 4, d >> 8, d & 255])
    return bytes(out)


class Bits:
    """Written from the low bits up; read from the high bits down."""

    def __init__(self):
        self.n = self.word = 0
        self.out = bytearray()

    def put(self, value, n):
        self.word |= value << self.n
        self.n += n
        while self.n >= 8:
            self.out.append(self.word & 255)
            self.word >>= 8
            self.n -= 8

    def done(self):
        """The bytes, and how many bits of the last one are not used."""
        skip = -self.n % 8
        if self.n:
            self.put(0, skip)
        return bytes(self.out), skip


class Coder:
    """One finite state entropy code, written from the last symbol back."""

    def __init__(self, symbols, counted, states, more):
        self.more, self.base = more, bases(more)
        self.freq = self.normalize(symbols, counted, states)
        self.back = {}
        self.state = first = 0
        for symbol, f in enumerate(self.freq):
            for j in range(f):
                k = states.bit_length() - f.bit_length()
                longer = (2 * states >> k) - f
                if j < longer:
                    delta = (f + j << k) - states
                else:
                    delta = j - longer << k - 1
                    k -= 1
                for i in range(1 << k):
                    self.back[symbol, delta + i] = first + j, i, k
            first += f

    @staticmethod
    def normalize(symbols, counted, states):
        count = [0] * symbols
        for s in counted:
            count[s] += 1
        total = sum(count) or 1
        freq = [max(1, c * states // total) if c else 0 for c in count]
        while sum(freq) > states:
            freq[freq.index(max(freq))] -= 1
        freq[freq.index(max(freq))] += states - sum(freq)
        return freq

    def symbol_of(self, value):
        return max(s for s in range(len(self.base)) if self.base[s] <= value)

    def put_symbol(self, bits, symbol):
        self.state, i, k = self.back[symbol, self.state]
        bits.put(i, k)

    def put_value(self, bits, value):
        symbol = self.symbol_of(value)
        bits.put(value - self.base[symbol], self.more[symbol])
        self.put_symbol(bits, symbol)


def frequency_bits(freq):
    bits = Bits()
    for f in freq:
        if f < 2:
            bits.put((0, 2)[f], 2)
        elif f < 4:
            bits.put((1, 5)[f - 2], 3)
        elif f < 8:
            bits.put(3 | f - 4 << 3, 5)
        elif f < 24:
            bits.put(7 | f - 8 << 4, 8)
        else:
            bits.put(15 | f - 24 << 4, 14)
    return bits.done()[0]


def value_coder(values, states, more):
    symbol = {}
    base = bases(more)
    counted = [max(s for s in range(len(base)) if base[s] <= v) for v in values]
    return Coder(len(more), counted, states, more)


def header_v1(raw_len, literals, triples, lit, tri, states, freq):
    return b"bvx1" + struct.pack(
        "<IIIIIIi4HiHHH", raw_len, len(lit[0]) + len(tri[0]), literals,
        triples, len(lit[0]), len(tri[0]), -lit[1], *states[:4], -tri[1],
        *states[4:]) + struct.pack("<360H", *freq)


def header_v2(raw_len, literals, triples, lit, tri, states, freq):
    packed = frequency_bits(freq)
    a = literals | len(lit[0]) << 20 | triples << 40 | 7 - lit[1] << 60
    b = len(tri[0]) << 40 | 7 - tri[1] << 60
    for i, s in enumerate(states[:4]):
        b |= s << 10 * i
    c = 32 + len(packed)
    for i, s in enumerate(states[4:]):
        c |= s << 32 + 10 * i
    return b"bvx2" + struct.pack("<IQQQ", raw_len, a, b, c) + packed


def coded_block(triples, header):
    """Triples (literals, match length, distance); a distance of 0 is as the
    one before."""
    literals = b"".join(t[0] for t in triples)
    raw_len = len(literals) + sum(t[1] for t in triples)
    literals += bytes(-len(literals) % 4)
    coder = Coder(256, literals, 1024, NONE)
    states, bits = [0] * 4, Bits()
    for i in range(len(literals) - 1, -1, -1):
        coder.state = states[i % 4]
        coder.put_symbol(bits, literals[i])
        states[i % 4] = coder.state
    lit, bits = bits.done(), Bits()
    ls = value_coder([len(t[0]) for t in triples], 64, L_MORE)
    ms = value_coder([t[1] for t in triples], 64, M_MORE)
    ds = value_coder([t[2] for t in triples], 256, D_MORE)
    for t in reversed(triples):
        ds.put_value(bits, t[2])
        ms.put_value(bits, t[1])
        ls.put_value(bits, len(t[0]))
    tri = bits.done()
    tri = bytes(8) + tri[0], tri[1]
    states += [ls.state, ms.state, ds.state]
    return header(raw_len, len(literals), len(triples), lit, tri, states,
                  ls.freq + ms.freq + ds.freq + coder.freq) + lit[0] + tri[0]


def repeat_distances(triples):
    """A distance that is the one before is written as 0."""
    last, out = 0, []
    for literals, n, distance in triples:
        out.append((literals, n, 0 if distance == last else distance))
        last = distance or last
    return out


def coded(data, header):
    out, block = [], []
    triples = matches(data, 4, 2359, 262139, 315)
    # A triple without a match still has a distance.
    triples = [(l, n, d or 1) for l, n, d in triples]
    while triples:
        block, size = [], 0
        while triples and len(block) < 10000 and \
                size + len(triples[0][0]) <= 40000:
            size += len(triples[0][0])
            block.append(triples.pop(0))
        out.append(coded_block(repeat_distances(block), header))
    return b"".join(out) + b"bvx$"


def bvx1(data):
    return coded(data, header_v1)


def bvx2(data):
    return coded(data, header_v2)


def lzvn_match(n_literals, n, distance, last):
    """The code of up to 3 literals and a match, and what it takes of it."""
    short = min(n, 10 - 2 * n_literals)
    if distance == last and n_literals:
        return bytes([n_literals << 6 | short - 3 << 3 | 6]), short
    if distance == last:
        take = min(n, 271)
        return (bytes([0xf0 | take]) if take < 16 else
                bytes([0xf0, take - 16])), take
    if n == short and distance < 1536:
        return bytes([n_literals << 6 | n - 3 << 3 | distance >> 8,
                      distance & 255]), n
    if distance < 16384:
        take = min(n, 34)
        return bytes([0xa0 | n_literals << 3 | take - 3 >> 2,
                      (distance & 63) << 2 | take - 3 & 3, distance >> 6]), take
    return bytes([n_literals << 6 | short - 3 << 3 | 7, distance & 255,
                  distance >> 8]), short


def lzvn(data):
    out, last = bytearray(b"\x0e"), 0
    for literals, n, distance in matches(data, 4, 400, 65535, 271):
        keep = len(literals) % 4 if n else 0
        run = literals[:len(literals) - keep]
        if run:
            out += bytes([0xe0 | len(run)]) if len(run) < 16 else \
                bytes([0xe0, len(run) - 16])
            out += run
        literals = literals[len(run):]
        while n:
            code, took = lzvn_match(len(literals), n, distance, last)
            out += code + literals
            literals, last = b"", distance
            n -= took
    out += b"\x16\x06" + bytes(7)
    return b"bvxn" + struct.pack("<II", len(data), len(out)) + out + b"bvx$"


def plain(data):
    return b"bvx-" + struct.pack("<I", len(data)) + data + b"bvx$"


def mixed(data):
    """Blocks of all kinds; matches of later ones reach into earlier ones
    only where they are coded alone, so that none do here."""
    n = len(data) // 4 + 1
    out = b""
    for i, encode in enumerate((bvx2, lzvn, plain, bvx1)):
        part = data[i * n:(i + 1) * n]
        if part:
            out += encode(part)[:-4]
    return out + b"bvx$"

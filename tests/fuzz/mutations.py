"""Change the bytes of files as damage and malice do."""

import re
import struct

EXTREME = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 1 << 24, 10**8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBER = re.compile(rb"\d+(\.\d+)?")
_WORDS = (b"0", b"-1", b"1e308", b"nan", b"99999999", b"1073741824", b"9223372036854775807", b'"x"', b"[[[[", b"null")
_MOST_BYTES = 1 << 20


def mutate(files, rng):
    """Return the files with one to four changes, all of them in one file."""
    name = rng.choice(sorted(files))
    data = files[name]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_CHANGES)(data, rng)
    return {**files, name: data[:_MOST_BYTES]}


def _flip(data, rng):
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 16))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _set_integer(data, rng):
    """Replace an integer, mostly in the head, by an extreme one."""
    size = rng.choice((1, 2, 4, 4, 4, 8, 8))
    if len(data) < size:
        return data
    # Headers are at the start, or as in Zip archives at the end.
    most = len(data) - size
    place = rng.choice((rng.randint(0, min(most, 512)), rng.randint(0, most), max(0, most - rng.randint(0, 300))))
    value = rng.choice((*EXTREME, 1 << 32, 1 << 40, (1 << 63) - 1)) & ((1 << 8 * size) - 1)
    return data[:place] + value.to_bytes(size, rng.choice(("little", "big"))) + data[place + size :]


def _set_number(data, rng):
    """Replace a number in text."""
    found = list(_NUMBER.finditer(data[:20_000]))
    if not found:
        return _flip(data, rng)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_WORDS) + data[match.end() :]


def _cut(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def _repeat(data, rng):
    """Repeat a piece, up to the largest size of an input."""
    if not data:
        return data
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 4, 12, 64, 4096))]
    times = min(rng.choice((2, 16, 1000, 100_000)), max(1, (_MOST_BYTES - len(data)) // max(1, len(piece))))
    return data[:start] + piece * times + data[start:]


def _move(data, rng):
    if len(data) < 16:
        return data
    start, to, size = rng.randrange(len(data)), rng.randrange(len(data)), rng.choice((4, 8, 12, 64))
    piece = data[start : start + size]
    return data[:to] + piece + data[to + len(piece) :]


def _set_double(data, rng):
    if len(data) < 8:
        return data
    place = rng.randrange(len(data) - 7)
    value = rng.choice((float("nan"), float("inf"), 1e308, -1.0, 0.0, 1e-300))
    return data[:place] + struct.pack(rng.choice("<>") + "d", value) + data[place + 8 :]


_CHANGES = (_flip, _set_integer, _set_integer, _set_integer, _set_number, _cut, _repeat, _move, _set_double)

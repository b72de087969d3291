"""TFRecord files of `tf.train.Example`, written without TensorFlow.

A process that only writes shards need not import it, which takes seconds and memory.
TensorFlow's readers check each record: a length and a payload, each with a masked CRC-32C.
"""

from __future__ import annotations

import functools
import itertools
import struct

import numpy as np

LANE = 256  # bytes with one remainder
LANES = 64  # that are looked up at once: more do not fit the cache, and cost four times as much
HEAD, TAIL = 12, 4  # bytes around a payload: its length and the length's CRC; the payload's CRC
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed


def frame(payload: bytes) -> bytes:
    """A payload as a record of a TFRecord file: HEAD + len(payload) + TAIL bytes."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _masked(length), payload, _masked(payload)))


def encode_example(name: bytes, label: int, image: bytes) -> bytes:
    """A serialised `tf.train.Example`; the image's bytes are its last ones."""
    features = (
        (b"name", _field(1, _field(1, name))),  # a BytesList
        (b"label", _field(3, _field(1, _varint(label)))),  # an Int64List
        (b"image", _field(1, _field(1, image))),
    )
    entries = (_field(1, _field(1, key) + _field(2, value)) for key, value in features)
    return _field(1, b"".join(entries))


def crc32c(data: bytes) -> int:
    """The CRC-32C of four bytes or more.

    A CRC is linear: the remainder of a lane is the XOR of its bytes' own remainders, each listed in
    a table by its position in the lane; NumPy looks them all up at once.
    """
    table, positions, first = _tables()
    start = bytes(byte ^ 0xFF for byte in data[:4])  # a CRC begins with all bits set
    lanes = np.frombuffer(bytes(-len(data) % LANE) + start + data[4:], np.uint8).reshape(-1, LANE)
    blocks = (
        np.bitwise_xor.reduce(table[lanes[i : i + LANES] + positions], axis=1).tolist()
        for i in range(0, len(lanes), LANES)
    )
    crc = 0
    # What came before counts as the lane's first four bytes.
    for remainder in itertools.chain.from_iterable(blocks):
        a, b, c, d = crc.to_bytes(4, "little")
        crc = first[0][a] ^ first[1][b] ^ first[2][c] ^ first[3][d] ^ remainder
    return crc ^ 0xFFFFFFFF


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """uint32 [LANE * 256]: the remainder of each byte in each position of a lane; where each position
    begins in it; the first four positions as lists."""
    byte = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        byte = np.where(byte & 1, byte >> 1 ^ _POLYNOMIAL, byte >> 1).astype(np.uint32)
    table = np.empty((LANE, 256), np.uint32)
    table[-1] = byte
    for position in range(LANE - 2, -1, -1):  # one zero byte more follows
        after = table[position + 1]
        table[position] = byte[after & 0xFF] ^ after >> 8
    return table.ravel(), np.arange(LANE) * 256, table[:4].tolist()


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes in a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)

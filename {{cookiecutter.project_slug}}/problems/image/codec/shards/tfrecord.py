"""TFRecord files of `tf.train.Example`, written without TensorFlow.

A process that only writes shards need not import it, which takes seconds and memory.
TensorFlow's readers check each record: a length and a payload, each with a masked CRC-32C.
"""

from __future__ import annotations

import struct

import google_crc32c

HEAD, TAIL = 12, 4  # bytes around a payload: its length and the length's CRC; the payload's CRC


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


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
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

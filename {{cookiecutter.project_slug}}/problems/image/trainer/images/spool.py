"""What the workers do while shards are made: read pictures into spools, copy them to shards.

A spool is a worker's own file of names and encoded images, one after the other. They wait in it
until the hashes of all pictures are known, and with them the split: so each picture is decoded
once, and the shards' order is free.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from codec import files, images
from trainer.images import sources, tfrecord
from trainer.images.ledger import Read
from trainer.images.parallel import in_order
from trainer.images.shards import INDEX

READS = 16  # at a time, by each worker, from a bucket
BUFFER = 1 << 20  # bytes that are written and hashed at once
BLOCK = 1000  # rows of the plan that are looked at together
# A row for each record to be: the spool, and where its name and its image lie in it; the label.
PLAN = np.dtype(
    [("spool", "<u4"), ("start", "<u8"), ("name", "<u4"), ("image", "<u4"), ("label", "<u4")]
)


@dataclass(frozen=True)
class Look:
    """What all pictures of a set are made to look like."""

    size: int  # pixels a side
    resize: str  # codec.images.POLICIES
    channels: int  # 3: RGB; 1: grey
    encoding: str  # manifest.ENCODINGS
    quality: int  # of JPEG


def read_pictures(source: str, tasks: list[tuple[int, str]], look: Look, spool: str) -> list[Read]:
    """Checks pictures, and appends the good ones to this process's spool.

    Args:
        tasks: (id in the ledger, path below the source).
        spool: the beginning of the spool's path.

    Raises:
        JobError: a bucket does not answer. A single file is never a reason to stop.
    """
    spool = f"{spool}-{os.getpid()}"
    places = [sources.place(source, path) for _, path in tasks]
    done = []
    with open(spool, "ab") as out, contextlib.ExitStack() as stack:
        remote = any(map(files.is_remote, places))
        threads = stack.enter_context(ThreadPoolExecutor(READS)) if remote else None
        contents = in_order(threads, _bytes, ((place,) for place in places), READS)
        for (number, path), data in zip(tasks, contents, strict=True):
            try:
                if isinstance(data, OSError):
                    raise images.Rejected(f"cannot be read: {data.strerror or data}")
                image = images.decode(data, os.path.splitext(path)[1])
            except images.Rejected as rejected:
                done.append(Read(number, str(rejected)))
                continue
            hashes = hashlib.sha256(data).digest(), images.digest(image)
            image = images.fit(image, look.size, look.channels, look.resize)
            encoded = images.encode(image, look.encoding, look.quality)
            name = os.fsencode(path)
            place = os.path.basename(spool), out.tell(), len(name), len(encoded)
            out.write(name + encoded)
            done.append(Read(number, None, *hashes, *place))
    return done


def _bytes(place: str) -> bytes | OSError:
    try:
        with files.open(place, "rb") as file:
            return file.read()
    except OSError as error:
        return error


def write_shard(
    plan: str, first: int, count: int, spools: list[str], path: str, index: str
) -> tuple[int, str]:
    """Copies records from the spools to a shard, under its name once it is whole.

    Args:
        plan: a file of PLAN rows, of which `count` from `first` on are for this shard.
        index: a file for the shard's part of the split's index, INDEX rows.

    Returns:
        The shard's bytes, and its sha256.
    """
    hasher, size, buffer, opened = hashlib.sha256(), 0, bytearray(), {}
    partial = f"{path}.partial"
    with open(partial, "wb") as out, open(index, "wb") as places, contextlib.ExitStack() as stack:
        for begin in range(first, first + count, BLOCK):
            rows = _rows(plan, begin, min(BLOCK, first + count - begin))
            found = np.zeros(len(rows), INDEX)
            for i, (spool, start, name, image, label) in enumerate(rows):
                if spool not in opened:
                    opened[spool] = stack.enter_context(open(spools[spool], "rb", buffering=0))
                opened[spool].seek(start)
                entry = opened[spool].read(name + image)
                example = tfrecord.example(entry[:name], label, entry[name:])
                found[i] = (size + tfrecord.HEAD, len(example), image, label)
                frame = tfrecord.frame(example)
                size += len(frame)
                buffer += frame
                if len(buffer) >= BUFFER:
                    _flush(buffer, out, hasher)
            found.tofile(places)
        _flush(buffer, out, hasher)
        out.flush()
        os.fsync(out.fileno())  # else a crash of the machine may leave the name without data
    os.replace(partial, path)
    return size, hasher.hexdigest()


def _rows(plan: str, first: int, count: int) -> list[tuple[int, ...]]:
    return np.fromfile(plan, PLAN, count, offset=first * PLAN.itemsize).tolist()


def _flush(buffer: bytearray, out, hasher) -> None:
    out.write(buffer)
    hasher.update(buffer)
    buffer.clear()

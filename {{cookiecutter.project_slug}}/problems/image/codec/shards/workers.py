"""What the processes do: read images into spools, and copy them from the spools to shards.

A spool is a process's own file of names and encoded images, one after the other. The images wait
there until the hashes of all images are known, and with them the split. So each image is decoded
once, and the order of the shards is free.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from codec import files, images
from codec.shards import sources, tfrecord
from codec.shards.manifest import INDEX, Options
from codec.shards.pool import run_in_order

READS = 16  # files that a process reads from a bucket at once
BUFFER = 1 << 20  # bytes that are written and hashed at once
BLOCK = 1000  # rows that are Python objects at once
# A row for each record to write: the spool, and where its name and its image are in it; the label.
RECORD = np.dtype(
    [("spool", "<u4"), ("start", "<u8"), ("name", "<u4"), ("image", "<u4"), ("label", "<u4")]
)


def read_images(
    source: str, tasks: list[tuple[int, str]], options: Options, folder: str
) -> list[tuple]:
    """Check images, and append the good ones to this process's spool.

    Args:
        tasks: (id in the catalog, path below the source).
        folder: where the spools are.

    Returns:
        (reason, hash of the file, of the pixels, spool, start, bytes of the name, of the image, id);
        of a rejected file the reason and the id alone, the others are None.

    Raises:
        JobError: a bucket does not answer. A single file is never a reason to stop.
    """
    spool = f"spool-{os.getpid()}"  # appended to, should a killed run have had the same id
    paths = [sources.locate(source, path) for _, path in tasks]
    done = []
    with open(os.path.join(folder, spool), "ab") as out, contextlib.ExitStack() as stack:
        is_remote = any(map(files.is_remote, paths))
        threads = stack.enter_context(ThreadPoolExecutor(READS)) if is_remote else None
        contents = run_in_order(threads, _read_bytes, ((path,) for path in paths), READS)
        for (number, path), data in zip(tasks, contents, strict=True):
            try:
                if isinstance(data, OSError):
                    raise images.Rejected(f"cannot be read: {data.strerror or data}")
                image = images.decode(data, os.path.splitext(path)[1])
            except images.Rejected as rejected:
                done.append((str(rejected), *[None] * 6, number))
                continue
            hashes = hashlib.sha256(data).digest(), images.digest(image)
            image = images.fit(image, options.size, options.channels, options.resize)
            name = os.fsencode(path)
            encoded = images.encode(image, options.encoding, options.quality)
            done.append((None, *hashes, spool, out.tell(), len(name), len(encoded), number))
            out.write(name + encoded)
    return done


def _read_bytes(path: str) -> bytes | OSError:
    try:
        with files.open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return error


def write_shard(records: np.ndarray, spools: list[str], path: str) -> tuple[int, str, bytes]:
    """Copy records from the spools to a shard.

    Args:
        records: RECORD [n].

    Returns:
        The shard's bytes, its sha256, and its part of the split's index: INDEX [n].
    """
    hasher, size, buffer, opened = hashlib.sha256(), 0, bytearray(), {}
    index = np.zeros(len(records), INDEX)
    with open(path, "wb") as out, contextlib.ExitStack() as stack:

        def flush():
            out.write(buffer)
            hasher.update(buffer)
            buffer.clear()

        for block in range(0, len(records), BLOCK):
            rows = records[block : block + BLOCK].tolist()
            for i, (spool, start, name, image, label) in enumerate(rows, block):
                if spool not in opened:
                    opened[spool] = stack.enter_context(open(spools[spool], "rb", buffering=0))
                opened[spool].seek(start)
                entry = opened[spool].read(name + image)
                example = tfrecord.encode_example(entry[:name], label, entry[name:])
                index[i] = (size + tfrecord.HEAD, len(example), image, label)
                frame = tfrecord.frame(example)
                size += len(frame)
                buffer += frame
                if len(buffer) >= BUFFER:
                    flush()
        flush()
        out.flush()
        os.fsync(out.fileno())  # or a crash of the machine could leave the name without the data
    return size, hasher.hexdigest(), index.tobytes()

"""Shards: pictures in TFRecord files, and how to read them.

    DIR/manifest.json                    labels, sizes, counts, checksums; written last
    DIR/train-00000-of-00012.tfrecord    records in mixed order; eval and test likewise
    DIR/train.index.npy                  where each record lies, and its label
    DIR/rejected.csv                     files that were left out, and why
    DIR/copies.csv                       files with the same pixels as another

A record is a `tf.train.Example`: `image` (a PNG or JPEG file, or raw uint8), `label` (a place in the
manifest's labels) and `name` (the file that it was made from). This page is its only description,
for the writer (sharding.py), for readers by index (`open`) and for `tf.data` (`parse`, `decode`).
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from codec import files
from trainer.engine.runtime import JobError
from trainer.images.manifest import AGAIN, File, Manifest, Split, checksum

MANIFEST, REJECTED, COPIES = "manifest.json", "rejected.csv", "copies.csv"
# A row for each record of a split, shard after shard: where its Example begins in the shard and its
# bytes; how many of them, at the end, are the image; the label.
INDEX = np.dtype([("offset", "<u8"), ("length", "<u4"), ("image", "<u4"), ("label", "<i4")])

REMOTE_READS = 32  # at a time from a bucket, each of which takes its time
GAP = 1 << 16  # bytes that are read along rather than skipped


def parse(record):
    """One record, or a vector of them, in a graph: (image string, label int32, name string)."""
    import tensorflow as tf

    kinds = {"image": tf.string, "label": tf.int64, "name": tf.string}
    features = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    found = tf.io.parse_example(record, features)
    return found["image"], tf.cast(found["label"], tf.int32), found["name"]


def decode(image, encoding: str, shape: tuple[int, int, int]):
    """One record's image, in a graph or out of it: uint8 `shape`, to the bit as Pillow decodes."""
    import tensorflow as tf

    if encoding == "raw":
        return tf.reshape(tf.io.decode_raw(image, tf.uint8), shape)
    if encoding == "png":
        return tf.ensure_shape(tf.io.decode_png(image, shape[2]), shape)
    pixels = tf.io.decode_jpeg(image, shape[2], dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(pixels, shape)


def open(path: str, verify: bool = False) -> Dataset:
    """The shards in a folder, local or gs://; no picture is read yet.

    Args:
        verify: compare every file with its checksum.

    Raises:
        JobError: no shards, or not those that the manifest tells of.
    """
    path = path.rstrip("/")
    place = f"{path}/{MANIFEST}"
    try:
        text = files.read_text(place) if files.exists(place) else None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{place}: cannot be read ({error})") from None
    if text is None:
        raise JobError(f"{path}: no finished shards; make them: python scripts/data.py shards")
    dataset = Dataset(path, Manifest.from_json(text, place))
    dataset.check()
    if verify:
        dataset.verify()
    return dataset


@dataclass(frozen=True)
class Dataset:
    """Pictures by number: `read("train", [0, 7])`. Thread-safe."""

    path: str
    manifest: Manifest

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def splits(self) -> dict[str, Split]:
        return self.manifest.splits

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.manifest.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a picture: height, width, channels."""
        return self.manifest.size, self.manifest.size, self.manifest.channels

    @property
    def digest(self) -> str:
        """Equal for equal pictures and labels, wherever they lie."""
        fields = asdict(self.manifest)
        what = [fields[name] for name in ("labels", "size", "channels", "encoding", "splits")]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def remarks(self) -> list[str]:
        """What was left out, and how it was split, for log and report: a line for each."""
        m, lines = self.manifest, []
        table = m.source["path"].lower().endswith(".csv")
        if m.group:
            counts = ", ".join(f"{count:,} in {split}" for split, count in m.groups.items())
            what = f"value of {m.group!r}" if table else f"folder at level {m.group}"
            lines.append(f"each {what} stays on one side (--group): {counts}")
        if m.other_groups and table:
            lines.append(
                f"columns not used: {_list(m.other_groups)}; if one names a person or a recording, "
                "make the shards with --group NAME"
            )
        elif m.other_groups:
            lines.append(
                f"folders with images both in train and held out: {_list(m.other_groups)}; if each "
                "is a person or a recording, make the shards with --group 2"
            )
        for split, share in (("eval", m.eval_share), ("test", m.test_share)):
            missing = [label for label, count in m.splits[split].classes.items() if not count]
            sizes = {x: sum(part.classes[x] for part in m.splits.values()) for x in missing}
            if share and missing:
                names = _list([f"{label} (of {sizes[label]:,})" for label in missing])
                lines.append(
                    f"no image in {split}, since train keeps at least half of each class: {names}"
                )
        if m.copies:
            what = f"{m.copies:,} ({COPIES} names them)"
            lines.append(f"copies of others, kept in the same split: {what}")
        if m.rejected:
            lines.append(f"files rejected: {m.rejected:,} ({REJECTED} says why)")
        if m.empty:
            lines.append(f"classes without a good image: {_list(m.empty)}")
        return lines

    def targets(self, split: str) -> np.ndarray:
        """int32 [count]: the labels, without reading a picture."""
        return self._index(split)["label"]

    def read(
        self, split: str, indices: Sequence[int], out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 [n, height, width, channels] and labels int32 [n], in the order asked for.

        Neighbours are read in one go, and all cores decode.

        Args:
            out: where the pictures are to stand; None for a new array.

        Raises:
            JobError: a file is gone or damaged.
        """
        indices = np.asarray(indices, np.int64)
        out = np.empty((len(indices), *self.shape), np.uint8) if out is None else out
        decode_one = self._decoder()

        def fill(run: np.ndarray) -> None:  # places in `indices`
            rows, shard, data = self._fetch(split, indices[run])
            for place, row in zip(run, rows, strict=True):
                end = int(row["offset"] - rows["offset"][0] + row["length"])
                try:
                    out[place] = decode_one(data[end - int(row["image"]) : end])
                except Exception as error:
                    raise self._damaged(shard, f"record {indices[place]} of {split}") from error

        list(self._threads.map(fill, self._runs(split, indices)))
        return out, self._index(split)["label"][indices]

    def names(self, split: str, indices: Sequence[int]) -> list[str]:
        """The files that these pictures were made from, as they stood below the source."""
        return [os.fsdecode(self._example(split, i)[2].numpy()) for i in indices]

    def verify(self) -> None:
        """Compares every file with its checksum.

        Raises:
            JobError: the first one that differs.
        """
        list(self._threads.map(self._verify_file, self._files()))

    def check(self) -> None:
        """Compares the files with the manifest by their sizes; in a bucket, by their names alone,
        which takes one request however many there are."""
        there = set(files.names(self.path)) if files.is_remote(self.path) else None
        for file in self._files():
            place = f"{self.path}/{file.file}"
            if there is None and not os.path.isfile(place) or there and file.file not in there:
                raise JobError(f"{place}: gone, but {MANIFEST} tells of it; {AGAIN}")
            if there is None and os.path.getsize(place) != file.bytes:
                found = os.path.getsize(place)
                raise self._damaged(file.file, f"{found} bytes, not {file.bytes}")

    def _files(self) -> list[File]:
        splits = self.splits.values()
        return [file for split in splits for file in (split.index, *split.shards)]

    def _verify_file(self, file: File) -> None:
        try:
            found = checksum(f"{self.path}/{file.file}")
        except OSError as error:
            raise self._damaged(file.file, error.strerror or str(error)) from None
        if found != file.sha256:
            raise self._damaged(file.file, "another checksum than in the manifest")

    def _damaged(self, file: str, what: str) -> JobError:
        return JobError(f"{self.path}/{file}: damaged ({what}); {AGAIN}")

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        cores = os.cpu_count() or 1
        return ThreadPoolExecutor(max(cores, REMOTE_READS) if files.is_remote(self.path) else cores)

    @functools.cached_property
    def _indexes(self) -> dict[str, np.ndarray]:
        return {}

    def _index(self, split: str) -> np.ndarray:
        """INDEX [count], checked once against its checksum."""
        if split not in self._indexes:
            file = self.splits[split].index
            buffer = io.BytesIO()
            files.read_into(f"{self.path}/{file.file}", buffer)
            if hashlib.sha256(buffer.getbuffer()).hexdigest() != file.sha256:
                raise self._damaged(file.file, "another checksum than in the manifest")
            buffer.seek(0)
            self._indexes[split] = np.load(buffer)
        return self._indexes[split]

    @functools.cached_property
    def _ends(self) -> dict[str, np.ndarray]:
        """The number of the record after each shard's last."""
        return {
            name: np.cumsum([shard.count for shard in split.shards], dtype=np.int64)
            for name, split in self.splits.items()
        }

    def _runs(self, split: str, indices: np.ndarray) -> list[np.ndarray]:
        """Places in `indices`, grouped so that each group is one read: near in one shard."""
        order = np.argsort(indices, kind="stable")
        rows = self._index(split)[indices[order]]
        shards = np.searchsorted(self._ends[split], indices[order], "right")
        far = rows["offset"][1:] > rows["offset"][:-1] + rows["length"][:-1] + GAP
        cuts = np.flatnonzero(far | (shards[1:] != shards[:-1])) + 1
        most = 1 + len(indices) // (2 * self._threads._max_workers)  # else one core would do it all
        return [
            group[i : i + most]
            for group in np.split(order, cuts)
            for i in range(0, len(group), most)
        ]

    def _fetch(self, split: str, indices: np.ndarray) -> tuple[np.ndarray, str, memoryview]:
        """Of records near each other in one shard, ascending: their rows of the index, the shard's
        name, and its bytes from the first record's begin to the last one's end."""
        rows = self._index(split)[indices]
        shard = self.splits[split].shards[np.searchsorted(self._ends[split], indices[0], "right")]
        begin = int(rows["offset"][0])
        size = int(rows["offset"][-1] + rows["length"][-1]) - begin
        try:
            data = files.read_range(f"{self.path}/{shard.file}", begin, size)
        except OSError as error:
            raise self._damaged(shard.file, error.strerror or str(error)) from None
        if len(data) < size:
            raise self._damaged(shard.file, "its end is missing")
        return rows, shard.file, memoryview(data)

    def _decoder(self):
        """bytes → uint8 [height, width, channels]. TensorFlow decodes twice as fast as Pillow."""
        if self.manifest.encoding == "raw":
            return lambda image: np.frombuffer(image, np.uint8).reshape(self.shape)
        return lambda image: decode(bytes(image), self.manifest.encoding, self.shape).numpy()

    def _example(self, split: str, index: int):
        _, _, data = self._fetch(split, np.asarray([index]))
        return parse(bytes(data))


def _list(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f", … ({len(names)})" if len(names) > limit else "")

"""Read shards: by index (`open`), or with `tf.data` (`parse`, `decode`).

`codec/shards/__init__.py` describes the files.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from codec import files
from codec.shards.folder import ShardFolder

REMOTE_READS = 32  # at a time from a bucket, each of which takes its time
GAP = 1 << 16  # bytes that are read along rather than skipped


def parse(record):
    """One record, or a vector of them, in a graph: (image string, label int32, name string)."""
    import tensorflow as tf

    kinds = {"image": tf.string, "label": tf.int64, "name": tf.string}
    features = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    values = tf.io.parse_example(record, features)
    return values["image"], tf.cast(values["label"], tf.int32), values["name"]


def decode(image, encoding: str, shape: tuple[int, int, int]):
    """One record's image, in a graph or out of it: uint8 `shape`, to the bit as Pillow decodes."""
    import tensorflow as tf

    if encoding == "raw":
        return tf.reshape(tf.io.decode_raw(image, tf.uint8), shape)
    if encoding == "png":
        return tf.ensure_shape(tf.io.decode_png(image, shape[2]), shape)
    pixels = tf.io.decode_jpeg(image, shape[2], dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(pixels, shape)


@dataclass(frozen=True)
class Dataset(ShardFolder):
    """Images by number: `Dataset.open(path).read("train", [0, 7])`. Thread-safe."""

    def targets(self, split: str) -> np.ndarray:
        """int32 [count]: the labels; no image is read."""
        return self._index(split)["label"]

    def read(self, split: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [n, height, width, channels] and labels int32 [n], in the order of `indices`.

        Neighbours are read in one go, and one call decodes all images, on all cores.

        Raises:
            JobError: a file is missing or damaged.
        """
        indices = np.asarray(indices, np.int64)
        images = [b""] * len(indices)

        def fetch(run: np.ndarray) -> None:  # positions in `indices`
            rows, data = self._fetch(split, indices[run])
            ends = (rows["offset"] - rows["offset"][0] + rows["length"]).tolist()
            for position, end, size in zip(run.tolist(), ends, rows["image"].tolist(), strict=True):
                images[position] = data[end - size : end]

        list(self._threads.map(fetch, self._group_neighbours(split, indices)))
        try:
            pixels = self._decode(images)
        except Exception:
            self._name_damaged(split, indices, images)
            raise
        return pixels, self._index(split)["label"][indices]

    def names(self, split: str, indices: Sequence[int]) -> list[str]:
        """The paths of the files that these images were made from, below the source.

        Each is read once, and kept.
        """
        known = self._names.setdefault(split, {})
        new = [i for i in dict.fromkeys(map(int, indices)) if i not in known]
        records = self._threads.map(lambda i: self._parse_record(split, i), new)
        known.update(
            (i, os.fsdecode(name.numpy())) for i, (*_, name) in zip(new, records, strict=True)
        )
        return [known[int(i)] for i in indices]

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        cores = os.cpu_count() or 1
        return ThreadPoolExecutor(max(cores, REMOTE_READS) if files.is_remote(self.path) else cores)

    @functools.cached_property
    def _names(self) -> dict[str, dict[int, str]]:
        return {}

    @functools.cached_property
    def _indexes(self) -> dict[str, np.ndarray]:
        return {}

    def _index(self, split: str) -> np.ndarray:
        """codec.shards.manifest.INDEX [count], checked once against its checksum."""
        if split not in self._indexes:
            file = self.splits[split].index
            buffer = io.BytesIO()
            files.read_into(f"{self.path}/{file.file}", buffer)
            if hashlib.sha256(buffer.getbuffer()).hexdigest() != file.sha256:
                raise self.describe_damage(file.file, "another checksum than in the manifest")
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

    def _group_neighbours(self, split: str, indices: np.ndarray) -> list[np.ndarray]:
        """Positions in `indices`, grouped so that each group is one read: near in one shard."""
        order = np.argsort(indices, kind="stable")
        rows = self._index(split)[indices[order]]
        shards = np.searchsorted(self._ends[split], indices[order], "right")
        far = rows["offset"][1:] > rows["offset"][:-1] + rows["length"][:-1] + GAP
        cuts = np.flatnonzero(far | (shards[1:] != shards[:-1])) + 1
        most = 1 + len(indices) // (2 * self._threads._max_workers)  # or one thread would read all
        return [
            group[i : i + most]
            for group in np.split(order, cuts)
            for i in range(0, len(group), most)
        ]

    def _fetch(self, split: str, indices: np.ndarray) -> tuple[np.ndarray, bytes]:
        """Of records near each other in one shard, ascending: their rows of the index, and the
        shard's bytes from the start of the first record to the end of the last."""
        rows = self._index(split)[indices]
        shard = self._shard_of(split, indices[0])
        begin = int(rows["offset"][0])
        size = int(rows["offset"][-1] + rows["length"][-1]) - begin
        try:
            data = files.read_range(f"{self.path}/{shard}", begin, size)
        except OSError as error:
            raise self.describe_damage(shard, error.strerror or str(error)) from None
        if len(data) < size:
            raise self.describe_damage(shard, "its end is missing")
        return rows, data

    def _shard_of(self, split: str, index: int) -> str:
        """The file that holds a record."""
        number = np.searchsorted(self._ends[split], index, "right")
        return self.splits[split].shards[number].file

    def _decode(self, images: list[bytes]) -> np.ndarray:
        """uint8 [n, height, width, channels], read-only."""
        if self.manifest.encoding == "raw":
            return np.frombuffer(b"".join(images), np.uint8).reshape(-1, *self.shape)
        return np.asarray(self._graph(images))  # numpy() would copy

    @functools.cached_property
    def _graph(self):
        """string [n] → uint8 [n, height, width, channels], without Python between two images."""
        import tensorflow as tf

        def decode_one(image):
            return decode(image, self.manifest.encoding, self.shape)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
        def decode_all(images):
            with tf.device("CPU"):
                return tf.map_fn(
                    decode_one, images, fn_output_signature=tf.TensorSpec(self.shape, tf.uint8)
                )

        return decode_all

    def _name_damaged(self, split: str, indices: np.ndarray, images: list[bytes]) -> None:
        """Raise a JobError that names the first image that cannot be decoded."""
        for index, image in zip(indices, images, strict=True):
            try:
                self._decode([image])
            except Exception as error:
                shard = self._shard_of(split, index)
                raise self.describe_damage(shard, f"record {index} of {split}") from error

    def _parse_record(self, split: str, index: int):
        return parse(self._fetch(split, np.asarray([index]))[1])

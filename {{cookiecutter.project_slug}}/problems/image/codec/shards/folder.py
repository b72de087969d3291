"""A folder of finished shards: open it, check it, say what is in it. No image is read here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from codec import files
from codec.errors import JobError
from codec.shards.manifest import (
    COPIES,
    MANIFEST,
    REJECTED,
    REMEDY,
    File,
    Manifest,
    Split,
    compute_checksum,
)

THREADS = 8  # that compute checksums


@dataclass(frozen=True)
class ShardFolder:
    """Finished shards, in a folder or in a bucket."""

    path: str
    manifest: Manifest

    @classmethod
    def open(cls, path: str, verify: bool = False):
        """The shards in a folder, local or gs://.

        Args:
            verify: compare every file with its checksum.

        Raises:
            JobError: there are no shards, or others than the manifest lists.
        """
        path = path.rstrip("/")
        manifest = f"{path}/{MANIFEST}"
        try:
            text = files.read_text(manifest) if files.exists(manifest) else None
        except (OSError, UnicodeDecodeError) as error:
            raise JobError(f"{manifest}: cannot be read ({error})") from None
        if text is None:
            raise JobError(f"{path}: no finished shards; make them: python scripts/data.py shards")
        folder = cls(path, Manifest.from_json(text, manifest))
        folder.check_sizes()
        if verify:
            folder.check_checksums()
        return folder

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
        """Of an image: height, width, channels."""
        return self.manifest.size, self.manifest.size, self.manifest.channels

    @property
    def digest(self) -> str:
        """Equal for equal images and labels, whatever folder they are in."""
        fields = asdict(self.manifest)
        content = [fields[name] for name in ("labels", "size", "channels", "encoding", "splits")]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def check_sizes(self) -> None:
        """Compare the files with the manifest by their sizes; in a bucket by their names alone,
        which takes one request however many there are.

        Raises:
            JobError: the first file that is missing or has another size.
        """
        present = set(files.names(self.path)) if files.is_remote(self.path) else None
        for file in self._list_files():
            path = f"{self.path}/{file.file}"
            if not os.path.isfile(path) if present is None else file.file not in present:
                raise JobError(f"{path}: missing, but {MANIFEST} lists it; {REMEDY}")
            if present is None and os.path.getsize(path) != file.bytes:
                size = os.path.getsize(path)
                raise self.describe_damage(file.file, f"{size} bytes, not {file.bytes}")

    def check_checksums(self) -> None:
        """Raises JobError: the first file whose checksum is not the manifest's."""
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self._check_checksum, self._list_files()))

    def _check_checksum(self, file: File) -> None:
        try:
            checksum = compute_checksum(f"{self.path}/{file.file}")
        except OSError as error:
            raise self.describe_damage(file.file, error.strerror or str(error)) from None
        if checksum != file.sha256:
            raise self.describe_damage(file.file, "another checksum than in the manifest")

    def describe_damage(self, file: str, problem: str) -> JobError:
        return JobError(f"{self.path}/{file}: damaged ({problem}); {REMEDY}")

    def _list_files(self) -> list[File]:
        splits = self.splits.values()
        return [file for split in splits for file in (split.index, *split.shards)]

    def remarks(self) -> list[str]:
        """What was left out, and how the images were split, for log and report: a line for each."""
        m, lines = self.manifest, []
        is_table = m.source["path"].lower().endswith(".csv")
        if m.group:
            counts = ", ".join(f"{count:,} in {split}" for split, count in m.groups.items())
            unit = f"value of {m.group!r}" if is_table else f"folder at level {m.group}"
            lines.append(f"each {unit} stays on one side (--group): {counts}")
        if m.other_groups and is_table:
            lines.append(
                f"columns not used: {_join(m.other_groups)}; if one names a person or a recording, "
                "make the shards with --group NAME"
            )
        elif m.other_groups:
            lines.append(
                f"folders with images both in train and held out: {_join(m.other_groups)}; if each "
                "is a person or a recording, make the shards with --group 2"
            )
        least = "half" if m.eval_share + m.test_share <= 0.5 else "one image"
        for split, share in (("eval", m.eval_share), ("test", m.test_share)):
            missing = [label for label, count in m.splits[split].classes.items() if not count]
            sizes = {x: sum(part.classes[x] for part in m.splits.values()) for x in missing}
            if share and missing:
                names = _join([f"{label} (of {sizes[label]:,})" for label in missing])
                lines.append(
                    f"no image in {split}, since train keeps at least {least} of each class: {names}"
                )
        if m.encoding == "jpeg":
            lines.append(
                f"warning: shards in JPEG, of quality {m.quality}: training sees pixels that predictions do not; "
                "png keeps every pixel (--format)"
            )
        if m.copies:
            lines.append(
                f"copies of others, kept in the same split: {m.copies:,} ({COPIES} names them)"
            )
        if m.rejected:
            lines.append(f"files rejected: {m.rejected:,} ({REJECTED} says why)")
        if m.empty:
            lines.append(f"classes without a good image: {_join(m.empty)}")
        return lines


def _join(names: Sequence[str], limit: int = 20) -> str:
    return ", ".join(names[:limit]) + (f", … ({len(names)})" if len(names) > limit else "")

"""Compresses a directory: writes files to /tmp, packs them with tar and gzip, tells sizes and hashes.

The event names the files (`files`: path to text), or how many to make (`count`) of how many bytes each (`bytes`).
`return: true` puts the archive into the answer, as base64.
"""

import base64
import gzip
import hashlib
import io
import random
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath


def handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "content")
        total = write(root, event)
        packed = Path(folder, "content.tar.gz")
        digest = pack(root, packed)
        size = packed.stat().st_size
        print(f"{total} bytes to {size}")
        answer = {"bytes": total, "compressed_bytes": size, "tar_sha256": digest}
        if event.get("return"):
            answer["archive"] = base64.b64encode(packed.read_bytes()).decode()
        return answer


def write(root, event):
    files = event.get("files") or made(event.get("count", 10), event.get("bytes", 10_000))
    total = 0
    for name, text in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"not a path inside the directory: {name}")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_bytes(text.encode())
    return total


def made(count, size):
    """Files of words: compressible, and the same each time."""
    words = random.Random(1)
    return {
        f"part-{number:03}/text.txt": " ".join(f"{words.randrange(5_000)}" for _ in range(size // 5))[:size].ljust(size)
        for number in range(count)
    }


def pack(root, packed):
    """The archive depends on names and contents only: sorted, without times and owners."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)
    plain.seek(0)
    with gzip.GzipFile(packed, "wb", mtime=0) as out:
        shutil.copyfileobj(plain, out)
    return hashlib.sha256(plain.getvalue()).hexdigest()

"""Unpacks the archive and compares it with what was sent; then compresses megabytes."""

import base64
import gzip
import hashlib
import io
import json
import pathlib
import tarfile


def cases():
    small = json.loads(pathlib.Path(__file__).with_name("event.json").read_text())
    return [small, {"count": 40, "bytes": 100_000}]


def check(event, answer):
    if "files" not in event:
        assert answer["bytes"] == event["count"] * event["bytes"]
        assert answer["compressed_bytes"] < answer["bytes"] * 0.6
        return
    plain = gzip.decompress(base64.b64decode(answer["archive"]))
    assert hashlib.sha256(plain).hexdigest() == answer["tar_sha256"]
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        found = {entry.name: archive.extractfile(entry).read().decode() for entry in archive}
    assert found == event["files"]
    assert answer["bytes"] == sum(len(text.encode()) for text in event["files"].values())

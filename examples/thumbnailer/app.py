"""Makes a thumbnail: a picture goes in and comes out as base64."""

import base64
import io

from PIL import Image

SIDE_MAX = 2048


def handler(event, context):
    side = min(int(event.get("side", 128)), SIDE_MAX)
    kind = event.get("format", "JPEG").upper()
    with Image.open(io.BytesIO(base64.b64decode(event["picture"]))) as picture:
        before = picture.size
        thumbnail = picture.convert("RGB")
    thumbnail.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    thumbnail.save(out, kind)
    print(f"{before[0]}x{before[1]} to {thumbnail.width}x{thumbnail.height}, {out.tell()} bytes of {kind}")
    return {
        "width": thumbnail.width,
        "height": thumbnail.height,
        "format": kind,
        "picture": base64.b64encode(out.getvalue()).decode(),
    }

"""POST /ocr: an image goes in, the text on it comes out. The models come with rapidocr-onnxruntime."""

from __future__ import annotations

import base64
import binascii
import logging
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

from backend.bodies import BadRequestError, json_object, text
from backend.services.once import Once
from backend.wire import RefusedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

IMAGE_MAX_BYTES = 2 * 1024 * 1024
# Decoded, three bytes each. A file of a few KB can be an image of gigabytes.
IMAGE_MAX_PIXELS = 4_000_000
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp")
# Base64 in JSON: four characters for three bytes, and room for the rest of the document.
JSON_MAX_BYTES = IMAGE_MAX_BYTES * 4 // 3 + 1024
_FORMATS = ("PNG", "JPEG", "WEBP")
# Larger images are scaled down before text is looked for. The library's own setting scales small ones up instead, to 736
# pixels on the short side: 290 MiB more for one line of text, found no better.
_LONGEST_SIDE = 960


class Ocr:
    """Reads images, one at a time: the library keeps the state of a call in itself, and each call takes tens of MiB.

    On one thread of its own, started at its first image, so never in a master. Of the 16 that wait on connections each would
    keep what its calls took, in an arena of its own: 288 MiB instead of 165 after two dozen images, and growing.
    """

    def __init__(self) -> None:
        self._engine: Once[Any] = Once(_load)
        self._thread = ThreadPoolExecutor(1, "ocr")

    def load(self) -> None:
        """The libraries and the models, so that a process can be forked after it."""
        self._engine.get()

    def read(self, image: bytes) -> dict[str, object]:
        """The answer for the bytes of an image.

        Raises:
            BadRequestError: it is no image that can be read.
            RefusedError: it has too many pixels.
        """
        return self._thread.submit(self._read, image).result()

    def _read(self, image: bytes) -> dict[str, object]:
        found, _seconds = self._engine.get()(_decode(image))
        lines = [
            {"text": line, "confidence": round(float(confidence), 4), "box": [[round(x), round(y)] for x, y in box]}
            for box, line, confidence in found or ()
        ]
        return {"text": "\n".join(str(line["text"]) for line in lines), "lines": lines}


def image_of_json(body: bytes) -> bytes:
    """The image in `{"image": BASE64}`.

    Raises:
        BadRequestError: there is none.
    """
    encoded = text(json_object(body), "image", JSON_MAX_BYTES)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequestError("image", "image is not valid base64") from None


def _load() -> Any:
    import cv2
    from rapidocr_onnxruntime import RapidOCR

    # An image without text is an answer and no warning.
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    # No pool of threads, of neither library: it would not survive the fork of a master that loads this.
    cv2.setNumThreads(1)
    return RapidOCR(
        intra_op_num_threads=1, inter_op_num_threads=1, det_limit_type="max", det_limit_side_len=_LONGEST_SIDE
    )


def _decode(image: bytes) -> npt.NDArray[np.uint8]:
    """Blue, green and red of each pixel, upright."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(image), formats=_FORMATS) as opened:
            # Only the header is read until here.
            if opened.width * opened.height > IMAGE_MAX_PIXELS:
                raise RefusedError(413, f"image has more than {IMAGE_MAX_PIXELS} pixels", "image")
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (RefusedError, MemoryError):
        raise
    except Exception as error:
        # Pillow's decoders raise what they like: OSError, SyntaxError, ValueError, struct.error ...
        raise BadRequestError("image", "image cannot be read as PNG, JPEG or WebP") from error
    # What is transparent is paper.
    paper = Image.new("RGBA", upright.size, "white")
    paper.alpha_composite(upright)
    return np.ascontiguousarray(np.asarray(paper.convert("RGB"))[:, :, ::-1])

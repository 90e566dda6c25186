"""What an image file claims of itself, read before any decoder sees the file."""

import re
import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNM = re.compile(rb"P[2356]\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s+(\d{1,9})\s")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


def image_size(content: bytes) -> tuple[int, int]:
    """Return the width and height that a PNG, JPEG, BMP, WebP or PNM file declares.

    Raises ValueError with the reason where the file is none of them, or is damaged.
    """
    try:
        if content.startswith(_PNG):
            return _png_size(content)
        if content.startswith(_JPEG):
            return _jpeg_size(content)
        if content.startswith(b"BM"):
            return _bmp_size(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp_size(content)
    except (struct.error, IndexError) as exc:
        raise ValueError("the image is cut off") from exc
    if found := _PNM.match(content):
        return int(found[1]), int(found[2])
    raise ValueError("is not a PNG, JPEG, BMP, WebP or PNM image")


def _png_size(content: bytes) -> tuple[int, int]:
    """Read IHDR and check every chunk's CRC, as libpng itself prints what it finds wrong."""
    width, height = struct.unpack_from(">4xII", content, len(_PNG) + 4)
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, position)
        (crc,) = struct.unpack_from(">I", content, position + 8 + length)
        if crc != zlib.crc32(content[position + 4 : position + 8 + length]):
            raise ValueError("the image is damaged: a PNG checksum is wrong")
        position += 12 + length
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int]:
    position = 2
    while True:
        while content[position] == 0xFF and content[position + 1] == 0xFF:
            position += 1
        prefix, marker, length = struct.unpack_from(">BBH", content, position)
        if prefix != 0xFF or marker == _JPEG_SCAN or length < 2:
            raise ValueError("the image is damaged: the JPEG has no frame header")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 5)
            # OpenCV 4 fills what a cut-off JPEG lacks with gray and calls it read.
            if content.find(b"\xff\xd9", position) < 0:
                raise ValueError("the image is cut off")
            return width, height
        position += 2 + length


def _bmp_size(content: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", content, 14)
    layout = "<HH" if header_bytes == 12 else "<ii"
    width, height = struct.unpack_from(layout, content, 18)
    return width, abs(height)


def _webp_size(content: bytes) -> tuple[int, int]:
    (riff_bytes,) = struct.unpack_from("<I", content, 4)
    if len(content) < riff_bytes + 8:
        raise ValueError("the image is cut off")
    kind = content[12:16]
    if kind == b"VP8X":
        wide_low, wide_high, high_low, high_high = struct.unpack_from("<HBHB", content, 24)
        return (wide_low | wide_high << 16) + 1, (high_low | high_high << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF

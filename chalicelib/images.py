"""Untrusted bytes in, a picture small enough for the workflow out.

The picture travels through Step Functions as base64 inside the state, which may hold 256 KiB in all. `prepare` checks
that the bytes are a whole picture of a format that is taken, and makes it upright, RGB and small. It knows no AWS.

What it costs: libjpeg scales a JPEG while it decodes, so that 100 megapixels need 10 MiB, or 300 MiB and more if the
file is progressive. Every other format is decoded in full first: PNG and TIFF take 4 bytes a pixel (a TIFF that is
turned, 8), WebP about 16. All that follows works in bands of rows and adds a few MiB. Importing this module sets
Pillow's decompression bomb limit for the whole process.
"""

import math
import mimetypes
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Literal

from PIL import Image
from PIL.ExifTags import Base as ExifTag
from PIL.Image import Resampling, Transpose
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from chalicelib.errors import ImageTooLarge, InvalidImage, PictureError, UnsupportedImage
from chalicelib.limits import MAX_BYTES

MAX_PIXELS = 100_000_000
"""Largest picture that is decoded, in pixels: 400 MB in memory at Pillow's 4 bytes a pixel."""

MAX_LENGTH = 65_535
"""Longest side that is decoded, in pixels: the most that a JPEG can have."""

MAX_SCANS = 100
"""Most passes over one JPEG. Encoders write about 10; each pass costs time in proportion to all pixels, however few
bytes it has, so a small file with thousands of passes would keep the decoder busy for hours."""

MAX_ENCODED = 160 * 1024
"""Most characters of base64 that the picture may take of the state, whose own limit is 256 KiB.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

MAX_PICTURE_BYTES = MAX_ENCODED // 4 * 3
"""Largest picture that leaves here, in bytes: base64 turns 3 bytes into 4 characters."""

SHORT_SIDE = 192
"""Short side of the picture that leaves here, in pixels: what the model reads, so that it loses nothing, and few enough
pixels that nearly every photo fits as a PNG and gets the very answer that its file would get."""

LONG_SIDE = 4 * SHORT_SIDE
"""Long side that even a panorama does not exceed, in pixels."""

Format = Literal["JPEG", "PNG", "WEBP", "GIF", "TIFF"]

_TAKEN: dict[Format, bytes] = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]",
}
"""How a file of each format that is taken begins (regular expressions)."""

_CAMERA_RAW = "camera raw"

_NOT_TAKEN = {
    _CAMERA_RAW: rb"II\*\x00.{4}CR|.{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|IIU\x00",
    "HEIC": rb".{4}ftyphe",
    "HEIF": rb".{4}ftypm[is]f1",
    "AVIF": rb".{4}ftypavi[fs]",
    "BMP": rb"BM.{4}\x00{4}",
    "PSD": rb"8BPS",
    "PDF": rb"%PDF-",
    "PostScript": rb"%!PS",
    "SVG": rb"(\xef\xbb\xbf)?\s*(<svg|<[?!].*<svg)",
    "ICO": rb"\x00\x00\x01\x00",
    "JPEG 2000": rb".{4}jP  |\xff\x4f\xff\x51",
    "JPEG XL": rb".{4}JXL |\xff\x0a",
}
"""How a file of each known format that is not taken begins; these come first, as raw files look like TIFF."""

_HEAD = 1024  # bytes that are enough to recognise a format

_EXTENSIONS: dict[str, Format] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

_RAW_EXTENSIONS = frozenset({".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"})

# The table inside the standard library, which does not depend on the machine's own mime.types files.
_MEDIA_TYPES = {
    **mimetypes.MimeTypes().types_map[True],
    **dict.fromkeys(_RAW_EXTENSIONS, "image/x-dcraw"),
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jp2": "image/jp2",
    ".jxl": "image/jxl",
    ".psd": "image/vnd.adobe.photoshop",
}

_TRANSPOSES = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_UPRIGHT = 1
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})

_SCAN = b"\xff\xda"  # the marker that begins a scan; inside compressed data 0xff is always followed by 0 to 0xd7
_PNG_DEPTH_AT = 24  # bytes from the start of the file: 8 signature, 8 chunk head, 4 width, 4 height
_WHITE_IS_ZERO = 0

# Averaging whole blocks is quick but coarse: it stops at twice the final size and leaves the rest to the filter.
_REDUCING_GAP = 2.0

# What the model resizes with, too.
_FILTER = Resampling.BICUBIC

_BAND_PIXELS = 1 << 20

# A third of the time of the default level, and no larger files: 58 KB of a photo in 2.3 ms.
_COMPRESS_LEVEL = 1

# Quality and chroma subsampling, tried in this order until the JPEG fits. Photos fit with the first or the second;
# the last fits noise, which is the worst there is.
_QUALITIES = ((95, "4:4:4"), (90, "4:4:4"), (85, "4:2:0"), (70, "4:2:0"), (50, "4:2:0"), (25, "4:2:0"))

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Set once for the process: `warnings.catch_warnings` around each call would not be safe with threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """A picture that fits into the workflow's state.

    Attributes:
        data: the file, at most `MAX_PICTURE_BYTES` long.
        content_type: the media type of `data`.
        width: of the original as it is shown (after EXIF orientation), in pixels.
        height: of the original as it is shown, in pixels.
        format: of the original.
    """

    data: bytes
    content_type: Literal["image/jpeg", "image/png"]
    width: int
    height: int
    format: Format


@dataclass(frozen=True)
class _Decoded:
    """What is left of a file once it is decoded: `upright` is None where the file itself may go on as it is."""

    upright: Image.Image | None
    width: int
    height: int


def prepare(data: bytes, key: str) -> Picture:
    """Checks a file and makes it a picture that fits into the workflow's state.

    A JPEG or PNG that is small, upright, 8 bits deep, grey or RGB and opaque goes through byte for byte, after it was
    decoded once to prove it whole. Anything else becomes RGB: the first frame, upright, on white where it was
    transparent, deep greys scaled to 8 bits, its short side at most `SHORT_SIDE` and its long side at most `LONG_SIDE`,
    and without metadata. It becomes a PNG where that fits, else a JPEG. The same bytes give the same bytes.

    Args:
        data: the file, untrusted.
        key: its name, with or without folders; the extension must not contradict the content.

    Returns:
        The picture, RGB or grey.

    Raises:
        InvalidImage: `data` is empty, no picture, cut short or damaged.
        UnsupportedImage: a picture of a format that is not taken, or a name that lies about the format.
        ImageTooLarge: over `MAX_BYTES`, `MAX_PIXELS` or `MAX_LENGTH`, or built to exhaust the decoder.
    """
    if len(data) > MAX_BYTES:
        raise ImageTooLarge(
            f"The file has {len(data) / 2**20:.1f} MiB, at most {MAX_BYTES // 2**20} MiB are taken; "
            "save the picture with fewer pixels or a lower quality."
        )
    kind = _recognise(data)
    _check_name(key, kind)
    decoded = _decode(data, kind)
    if decoded.upright is None:
        picture, media_type = data, kind
    else:
        picture, media_type = _encode(decoded.upright)
    return Picture(
        data=picture,
        content_type="image/png" if media_type == "PNG" else "image/jpeg",
        width=decoded.width,
        height=decoded.height,
        format=kind,
    )


def _recognise(data: bytes) -> Format:
    """Tells the format by the first bytes, so that no decoder but the right one ever runs."""
    if not data:
        raise InvalidImage("The file is empty; upload the picture again.")
    head = data[:_HEAD]
    for name, beginning in _NOT_TAKEN.items():
        if re.match(beginning, head, re.DOTALL):
            raise _not_taken(name)
    for kind, beginning in _TAKEN.items():
        if re.match(beginning, head, re.DOTALL):
            return kind
    raise InvalidImage("The file is not a picture; upload a JPEG, PNG, WebP, GIF or TIFF.")


def _not_taken(name: str) -> UnsupportedImage:
    return UnsupportedImage(f"The file is in {name} format, which is not taken; save the picture as JPEG or PNG.")


def _check_name(key: str, kind: Format) -> None:
    """Refuses a name whose extension promises something else; an unknown extension, or none, promises nothing."""
    path = PurePosixPath(key)
    extension = path.suffix.lower()
    if kind == "TIFF" and extension in _RAW_EXTENSIONS:
        raise _not_taken(_CAMERA_RAW)
    promised: str | None = _EXTENSIONS.get(extension)
    if promised is None:
        promised = _MEDIA_TYPES.get(extension)
        if promised == "application/octet-stream":
            promised = None
    if promised and promised != kind:
        fitting = next(extension for extension, named in _EXTENSIONS.items() if named == kind)
        raise UnsupportedImage(
            f'The name "{path.name}" promises {promised}, but the file holds a {kind} picture; '
            f'name it "{path.stem}{fitting}".'
        )


def _decode(data: bytes, kind: Format) -> _Decoded:
    """Runs Pillow; whatever it throws at untrusted bytes ends as one of our errors.

    A `MemoryError` counts as the picture's fault: the pixels are bounded beforehand, so what remains are headers that
    ask for absurd buffers, and trying again would not help.
    """
    try:
        if kind == "PNG":
            _check_checksums(data)
        with Image.open(BytesIO(data), formats=[kind]) as image:
            _check_header(image, data)
            return _shrink(image, data)
    except PictureError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except Exception as error:
        raise InvalidImage(
            f"The {kind} picture is damaged or was not uploaded whole; open it, save it again and upload the new file."
        ) from error


def _check_checksums(data: bytes) -> None:
    """Reads a PNG's chunks to its end, which decoding alone does not do."""
    with Image.open(BytesIO(data), formats=["PNG"]) as image:
        image.verify()


def _too_many_pixels(size: tuple[int, int] | None = None) -> ImageTooLarge:
    found = f"The picture has {size[0]} x {size[1]} pixels" if size else "The picture has too many pixels to decode"
    return ImageTooLarge(
        f"{found}; at most {MAX_PIXELS // 1_000_000} megapixels and {MAX_LENGTH} pixels a side are taken. "
        "Save it with fewer pixels."
    )


def _check_header(image: Image.Image, data: bytes) -> None:
    """Refuses what the header already tells, before anything is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImage("The picture has no pixels; save it again and upload the new file.")
    if width * height > MAX_PIXELS or max(width, height) > MAX_LENGTH:
        raise _too_many_pixels(image.size)
    if isinstance(image, TiffImageFile):
        tile = (image.tag_v2.get(TILEWIDTH, 1), image.tag_v2.get(TILELENGTH, 1))
        if tile[0] * tile[1] > MAX_PIXELS:
            raise _too_many_pixels(tile)
    if isinstance(image, JpegImageFile) and _has_many_scans(image, data):
        raise ImageTooLarge("The JPEG takes too many passes to decode; save it again without the progressive option.")


def _has_many_scans(image: JpegImageFile, data: bytes) -> bool:
    """Counts the scans, but only of a JPEG whose first scan does not hold it all: decoders read no second one then."""
    assert image.fp is not None  # noqa: S101 - for the type checker: a picture that is open has its file
    first = data.rfind(_SCAN, 0, image.fp.tell())
    if "progressive" not in image.info and data[first + 4] == image.layers:
        return False
    return data.count(_SCAN) > MAX_SCANS


def _fit(width: int, height: int) -> tuple[int, int]:
    """The size that a picture shrinks to, in pixels: the same shape, never larger than it was."""
    scale = min(1.0, SHORT_SIDE / min(width, height), LONG_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrink(image: Image.Image, data: bytes) -> _Decoded:
    """Decodes a picture no larger than needed and makes it small, RGB and upright."""
    original = image.size
    size = _fit(*original)
    box: tuple[float, float, float, float] = (0, 0, *original)
    if size != original and (drafted := image.draft(None, size)):
        box = drafted[1]
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = len(data)  # one read, not one per 64 KiB: 1 % quicker
    image.load()
    orientation = _orientation(image)
    upright: Image.Image | None = None
    if size != original or orientation != _UPRIGHT or len(data) > MAX_PICTURE_BYTES or not _is_plain(image, data):
        upright = _resize(image, size, box)
        if orientation != _UPRIGHT:
            upright = upright.transpose(_TRANSPOSES[orientation])
    width, height = reversed(original) if orientation in _ON_ITS_SIDE else original
    return _Decoded(upright, width, height)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. Unreadable EXIF data means upright, as every viewer takes it."""
    try:
        orientation = image.getexif().get(ExifTag.Orientation)
    except Exception:  # noqa: BLE001 - EXIF data is untrusted too, and Pillow documents no errors for it
        return _UPRIGHT
    return orientation if orientation in _TRANSPOSES else _UPRIGHT


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether a decoded file is one that any reader shows alike: JPEG or PNG, 8 bits, grey or RGB, opaque."""
    if image.format == "PNG":
        if data[_PNG_DEPTH_AT] != 8:
            return False
    elif not isinstance(image, JpegImageFile):
        return False
    if image.mode in {"LA", "RGBA"}:
        return image.getchannel("A").getextrema() == (255, 255)
    return image.mode in {"L", "RGB"} and not image.has_transparency_data


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Makes the decoded picture RGB and small.

    A large picture is first averaged over whole blocks of pixels, in bands of rows, which is exact whatever its mode
    because each band is RGB before it is averaged, and saves a second copy in full size.

    Args:
        image: decoded, of any mode.
        size: of the result, in pixels.
        box: the part of `image` to take: all of it but for the padding of a scaled JPEG.

    Returns:
        A new RGB picture without metadata.
    """
    tones = _tones(image)
    across, down = (max(1, int(have / want / _REDUCING_GAP)) for have, want in zip(image.size, size, strict=True))
    if (across, down) == (1, 1):
        averaged = _rgb(image, tones)
    else:
        width, height = image.size
        averaged = Image.new("RGB", (math.ceil(width / across), math.ceil(height / down)))
        rows = down * max(1, _BAND_PIXELS // (width * down))
        for top in range(0, height, rows):
            band = image.crop((0, top, width, min(top + rows, height)))
            averaged.paste(_rgb(band, tones).reduce((across, down)), (0, top // down))
    small = averaged.resize(size, _FILTER, (0, 0, box[2] / across, box[3] / down))
    small.info.clear()
    return small


def _rgb(image: Image.Image, tones: tuple[float, float] | None) -> Image.Image:
    """The picture as RGB, on white where it is transparent."""
    if tones:
        scale, offset = tones
        whole = image if image.mode == "F" else image.convert("I").convert("F")
        return whole.point(lambda tone: tone * scale + offset).convert("L").convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _tones(image: Image.Image) -> tuple[float, float] | None:
    """How the tones of a grey deeper than 8 bits map to 0..255: factor and offset, or None for any other picture.

    16-bit greys have a defined white. 32-bit integers and floats do not: white is the least of 1 (floats), 255 and
    65,535 that no tone exceeds, and where there is none, the tones found are spread over the whole range.
    """
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        return None
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if image.mode.startswith("I;16"):
        black, white = 0.0, float(2 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1)
    else:
        black, white = _range(image)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        black, white = white, black
    scale = 255 / (white - black)
    return scale, 0.5 - black * scale


def _range(image: Image.Image) -> tuple[float, float]:
    """Black and white of a picture of 32-bit integers or floats."""
    low, high = image.getextrema()
    if not (isinstance(low, int | float) and isinstance(high, int | float) and math.isfinite(low + high)):
        raise InvalidImage("The picture holds tones that are no numbers; save it as an 8-bit JPEG or PNG.")
    whites = (1, 255, 65_535) if image.mode == "F" else (255, 65_535)
    white = next((white for white in whites if low >= 0 and high <= white), None)
    return (0, white) if white else (low, max(high, low + 1))


def _encode(image: Image.Image) -> tuple[bytes, Literal["JPEG", "PNG"]]:
    """Writes a small RGB picture as PNG if it fits, else as the best JPEG that fits."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESS_LEVEL)
    if file.tell() <= MAX_PICTURE_BYTES:
        return file.getvalue(), "PNG"
    for quality, subsampling in _QUALITIES:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality, subsampling=subsampling)
        if file.tell() <= MAX_PICTURE_BYTES:
            return file.getvalue(), "JPEG"
    raise ImageTooLarge("The picture holds more detail than fits; save it with fewer pixels.")

"""Untrusted bytes in, a picture small enough for the workflow out."""

import base64
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from chalicelib import images, limits
from chalicelib.errors import ImageTooLarge, InvalidImage, UnsupportedImage
from chalicelib.images import Picture, prepare
from tests.chalicelib import pictures
from tests.chalicelib.pictures import BLUE, GREEN, QUARTERS, RED, WHITE, YELLOW, corners, quarters, save

OURS = (ImageTooLarge, InvalidImage, UnsupportedImage)


def shown(picture: Picture) -> Image.Image:
    image = Image.open(BytesIO(picture.data))
    image.load()
    return image


def outcome(data: bytes, key: str = "picture") -> Picture | str:
    """The picture, or the sentence of one of our errors; any other error fails the test."""
    try:
        return prepare(data, key)
    except OURS as refused:
        return str(refused)


def assert_colours(found: Any, expected: Any, tolerance: int = 12) -> None:
    worst = max(abs(a - b) for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True))
    assert worst <= tolerance, f"{found} is not {expected}"


def with_alpha() -> Image.Image:
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 24))
    return image


def palette_with_transparency() -> Image.Image:
    image = quarters().quantize(8)
    image.info["transparency"] = image.getpixel((5, 5))
    return image


def exact_greys(mode: str, tones: tuple[float, ...], size: tuple[int, int] = (64, 48)) -> Image.Image:
    image = Image.new(mode, size)
    for index, tone in enumerate(tones):
        left, top = index % 2 * 32, index // 2 * 24
        image.paste(tone, (left, top, left + 32, top + 24))
    return image


def deep_rows(tones: tuple[int, ...], byte_order: str, prefix: bytes = b"") -> bytes:
    """Samples of 16 bits as a picture of 64 x 48, whose quarters have these tones (or triples of them)."""
    per_pixel = len(tones) // 4
    quarter = [struct.pack(f"{byte_order}{per_pixel}H", *tones[i * per_pixel :][:per_pixel]) * 32 for i in range(4)]
    return (prefix + quarter[0] + quarter[1]) * 24 + (prefix + quarter[2] + quarter[3]) * 24


def grey(*tones: int) -> list[tuple[int, int, int]]:
    return [(tone, tone, tone) for tone in tones]


DEEP = (0, 512, 32_768, 65_535)
DEEP_GREYS = grey(0, 2, 128, 255)
DEEP_RGB = tuple(value * 257 for colour in QUARTERS for value in colour)

SMALL: dict[str, tuple[Callable[[], bytes], str, Any]] = {
    "jpeg": (lambda: save(quarters(), "JPEG", quality=95), "JPEG", QUARTERS),
    "progressive jpeg": (lambda: save(quarters(), "JPEG", quality=95, progressive=True), "JPEG", QUARTERS),
    "grey jpeg": (lambda: save(exact_greys("L", (0, 90, 170, 255)), "JPEG"), "JPEG", grey(0, 90, 170, 255)),
    "mpo, as many phones write": (
        lambda: save(quarters(), "MPO", quality=95, save_all=True, append_images=[quarters((32, 24), [BLUE] * 4)]),
        "JPEG",
        QUARTERS,
    ),
    "cmyk jpeg, stored inverted": (lambda: save(quarters().convert("CMYK"), "JPEG", quality=95), "JPEG", QUARTERS),
    "png": (lambda: save(quarters(), "PNG"), "PNG", QUARTERS),
    "1-bit png": (lambda: save(exact_greys("1", (0, 255, 255, 0)), "PNG"), "PNG", grey(0, 255, 255, 0)),
    "grey png": (lambda: save(exact_greys("L", (0, 90, 170, 255)), "PNG"), "PNG", grey(0, 90, 170, 255)),
    "palette png": (lambda: save(quarters().quantize(8), "PNG"), "PNG", QUARTERS),
    "palette png with transparency": (
        lambda: save(palette_with_transparency(), "PNG"),
        "PNG",
        (WHITE, GREEN, BLUE, YELLOW),
    ),
    "palette png with alpha": (lambda: save(with_alpha().quantize(8), "PNG"), "PNG", (WHITE, GREEN, BLUE, YELLOW)),
    "png with a transparent colour": (
        lambda: save(quarters(), "PNG", transparency=RED),
        "PNG",
        (WHITE, GREEN, BLUE, YELLOW),
    ),
    "png with alpha": (lambda: save(with_alpha(), "PNG"), "PNG", (WHITE, GREEN, BLUE, YELLOW)),
    "half transparent grey png": (lambda: save(Image.new("LA", (64, 48), (0, 128)), "PNG"), "PNG", grey(*[127] * 4)),
    "16-bit grey png": (lambda: pictures.png(64, 48, 16, 0, deep_rows(DEEP, ">", b"\x00")), "PNG", DEEP_GREYS),
    "16-bit rgb png": (lambda: pictures.png(64, 48, 16, 2, deep_rows(DEEP_RGB, ">", b"\x00")), "PNG", QUARTERS),
    "webp": (lambda: save(quarters(), "WEBP", lossless=True), "WEBP", QUARTERS),
    "webp with alpha": (lambda: save(with_alpha(), "WEBP", lossless=True), "WEBP", (WHITE, GREEN, BLUE, YELLOW)),
    "animated webp": (
        lambda: save(quarters(), "WEBP", lossless=True, save_all=True, append_images=[quarters(colours=[BLUE] * 4)]),
        "WEBP",
        QUARTERS,
    ),
    "gif": (lambda: save(quarters(), "GIF"), "GIF", QUARTERS),
    "gif with transparency": (
        lambda: save(palette_with_transparency(), "GIF"),
        "GIF",
        (WHITE, GREEN, BLUE, YELLOW),
    ),
    "animated gif": (
        lambda: save(quarters(), "GIF", save_all=True, append_images=[quarters(colours=[BLUE] * 4)]),
        "GIF",
        QUARTERS,
    ),
    "tiff": (lambda: save(quarters(), "TIFF"), "TIFF", QUARTERS),
    "tiff of several pages": (
        lambda: save(quarters(), "TIFF", save_all=True, append_images=[quarters(colours=[BLUE] * 4)]),
        "TIFF",
        QUARTERS,
    ),
    "lzw tiff": (lambda: save(quarters(), "TIFF", compression="tiff_lzw"), "TIFF", QUARTERS),
    "fax tiff": (
        lambda: save(exact_greys("1", (0, 255, 255, 0)), "TIFF", compression="group4"),
        "TIFF",
        grey(0, 255, 255, 0),
    ),
    "cmyk tiff, stored plain": (lambda: save(quarters().convert("CMYK"), "TIFF"), "TIFF", QUARTERS),
    "ycbcr tiff": (lambda: save(quarters().convert("YCbCr"), "TIFF"), "TIFF", QUARTERS),
    "lab tiff": (lambda: save(quarters().convert("LAB"), "TIFF"), "TIFF", QUARTERS),
    "tiff with alpha": (lambda: save(with_alpha(), "TIFF"), "TIFF", (WHITE, GREEN, BLUE, YELLOW)),
    "16-bit grey tiff": (lambda: pictures.tiff((64, 48), [16], deep_rows(DEEP, "<")), "TIFF", DEEP_GREYS),
    "16-bit grey tiff, white as zero": (
        lambda: pictures.tiff((64, 48), [16], deep_rows(DEEP, "<"), photometric=0),
        "TIFF",
        grey(255, 253, 127, 0),
    ),
    "16-bit grey tiff, big-endian": (
        lambda: save(Image.frombytes("I;16B", (64, 48), deep_rows(DEEP, ">")), "TIFF"),
        "TIFF",
        DEEP_GREYS,
    ),
    "16-bit rgb tiff": (
        lambda: pictures.tiff((64, 48), [16] * 3, deep_rows(DEEP_RGB, "<"), photometric=2),
        "TIFF",
        QUARTERS,
    ),
    "32-bit tiff with 8-bit tones": (lambda: save(exact_greys("I", (0, 2, 128, 255)), "TIFF"), "TIFF", DEEP_GREYS),
    "32-bit tiff with 16-bit tones": (lambda: save(exact_greys("I", DEEP), "TIFF"), "TIFF", DEEP_GREYS),
    "32-bit tiff with tones below zero": (
        lambda: save(exact_greys("I", (-1000, 0, 0, 1000)), "TIFF"),
        "TIFF",
        grey(0, 128, 128, 255),
    ),
    "float tiff from 0 to 1": (
        lambda: save(exact_greys("F", (0, 0.25, 0.5, 1)), "TIFF"),
        "TIFF",
        grey(0, 64, 128, 255),
    ),
    "float tiff from 0 to 65,535": (lambda: save(exact_greys("F", DEEP), "TIFF"), "TIFF", DEEP_GREYS),
    "float tiff far beyond": (
        lambda: save(exact_greys("F", (-1e6, 0, 0, 1e6)), "TIFF"),
        "TIFF",
        grey(0, 128, 128, 255),
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_every_accepted_kind_keeps_its_colours(name: str) -> None:
    draw, kind, expected = SMALL[name]
    picture = prepare(draw(), "inbox/picture")
    tolerance = 12 if "jpeg" in name or "mpo" in name else 3
    assert (picture.format, picture.width, picture.height) == (kind, 64, 48)
    assert shown(picture).size == (64, 48)
    assert shown(picture).mode in {"L", "RGB"}
    assert_colours(corners(shown(picture)), expected, tolerance)


@pytest.mark.parametrize("name", SMALL)
def test_the_content_type_is_that_of_the_bytes(name: str) -> None:
    picture = prepare(SMALL[name][0](), "picture")
    assert picture.content_type == Image.MIME[(shown(picture).format or "").replace("MPO", "JPEG")]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("size", [(64, 48), (1200, 900)], ids=["small", "shrunk"])
def test_a_turned_picture_comes_out_upright(kind: str, orientation: int, size: tuple[int, int]) -> None:
    picture = prepare(pictures.turned(orientation, kind, size), "picture")
    assert (picture.width, picture.height) == size
    assert shown(picture).size == (min(size[0], 256), min(size[1], 192))
    assert shown(picture).getexif().get(pictures.EXIF_ORIENTATION, 1) == 1
    assert_colours(corners(shown(picture)), QUARTERS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00"])
def test_broken_exif_data_means_upright(exif: bytes) -> None:
    assert_colours(corners(shown(prepare(save(quarters(), "JPEG", exif=exif), "a.jpg"))), QUARTERS)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_means_upright(value: int) -> None:
    exif = Image.Exif()
    exif[pictures.EXIF_ORIENTATION] = value
    assert_colours(corners(shown(prepare(save(quarters(), "JPEG", exif=exif), "a.jpg"))), QUARTERS)


# What goes through, and what comes out small


@pytest.mark.parametrize(
    ("draw", "key"),
    [
        (lambda: save(quarters(), "JPEG"), "a.jpg"),
        (lambda: save(quarters().convert("L"), "JPEG", progressive=True), "a.jpg"),
        (lambda: save(quarters((192, 192)), "JPEG"), "a.jpg"),
        (lambda: save(quarters((768, 192)), "JPEG"), "a.jpg"),
        (lambda: save(quarters(), "PNG"), "a.png"),
        (lambda: save(quarters().convert("L"), "PNG"), "a.png"),
        (lambda: save(quarters((32, 32)).convert("RGBA"), "PNG"), "a.png"),
        (lambda: save(quarters((32, 32)).convert("LA"), "PNG"), "a.png"),
        (lambda: pictures.turned(1, "JPEG"), "a.jpg"),
    ],
)
def test_a_small_picture_goes_through_byte_for_byte(draw: Callable[[], bytes], key: str) -> None:
    data = draw()
    assert prepare(data, key).data == data


def test_a_small_png_of_16_bits_does_not_go_through_as_it_is() -> None:
    data = pictures.png(64, 48, 16, 2, deep_rows(DEEP_RGB, ">", b"\x00"))
    depth_at = 24
    assert (data[depth_at], prepare(data, "a.png").data[depth_at]) == (16, 8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((4000, 3000), (256, 192)),
        ((3000, 4000), (192, 256)),
        ((193, 193), (192, 192)),
        ((1000, 500), (384, 192)),
        ((1200, 300), (768, 192)),
        ((3000, 300), (768, 77)),
        ((300, 3000), (77, 768)),
        ((20_000, 1), (768, 1)),
        ((500, 120), (500, 120)),
        ((1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_shrinks_and_keeps_its_shape(
    size: tuple[int, int], expected: tuple[int, int], kind: str
) -> None:
    picture = prepare(save(Image.new("RGB", size, RED), kind), "picture")
    assert (picture.width, picture.height) == size
    assert shown(picture).size == expected
    assert_colours(corners(shown(picture)), [RED] * 4)


@pytest.mark.parametrize("size", [(1999, 1501), (897, 673), (2304, 1000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_at_the_size_of_the_model_shrinking_stays_true_to_a_full_decode(size: tuple[int, int], kind: str) -> None:
    data = save(pictures.photo(size), kind)
    small = shown(prepare(data, "picture"))
    ideal = Image.open(BytesIO(data)).resize((192, 192), Image.Resampling.BICUBIC).tobytes()
    seen = small.resize((192, 192), Image.Resampling.BICUBIC).tobytes()
    error = sum((a - b) ** 2 for a, b in zip(seen, ideal, strict=True)) / len(ideal)
    assert error < 6.5, f"a mean squared error of {error:.1f} is less than 40 dB"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "LAB", "I;16", "1"])
def test_shrinking_in_bands_gives_what_shrinking_at_once_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = quarters((2001, 1203)).quantize(8) if mode == "P" else pictures.noise(3, (2001, 1203), mode)
    data = save(image, "TIFF" if mode in {"CMYK", "LAB"} else "PNG")
    monkeypatch.setattr(images, "_BAND_PIXELS", 1 << 30)
    at_once = prepare(data, "picture")
    monkeypatch.setattr(images, "_BAND_PIXELS", 1 << 14)
    assert prepare(data, "picture") == at_once


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_a_tiny_picture_becomes_a_png_without_loss(kind: str) -> None:
    image = quarters((32, 32)).quantize(4).convert("RGB")
    picture = prepare(save(image, kind, **({"lossless": True} if kind == "WEBP" else {})), "picture")
    assert picture.content_type == "image/png"
    assert shown(picture).tobytes() == image.tobytes()


def test_metadata_does_not_eat_the_budget() -> None:
    comment = b"c" * 60_000
    data = save(quarters((600, 600)), "JPEG", comment=comment, icc_profile=comment * 4)
    assert len(prepare(data, "a.jpg").data) < 20_000
    assert (
        len(prepare(save(quarters((40, 40)), "PNG", icc_profile=pictures.noise(1, (400, 400)).tobytes()), "a.png").data)
        < 9_000
    )


def test_the_budget_leaves_the_state_room() -> None:
    assert images.MAX_ENCODED == 160 * 1024 < 256 * 1024
    assert len(base64.b64encode(bytes(images.MAX_PICTURE_BYTES))) <= images.MAX_ENCODED


NOISES = [
    ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "I;16"),
    ("PNG", "P"), ("PNG", "1"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("TIFF", "RGB"), ("TIFF", "CMYK"),
    ("TIFF", "I"), ("TIFF", "LAB"),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    kind=st.sampled_from(NOISES),
)
@example(seed=1, size=(192, 192), kind=("PNG", "RGB"))
@example(seed=2, size=(768, 192), kind=("PNG", "RGB"))
@example(seed=3, size=(768, 192), kind=("JPEG", "CMYK"))
@example(seed=4, size=(448, 448), kind=("PNG", "I;16"))
@example(seed=5, size=(448, 448), kind=("PNG", "P"))
@example(seed=6, size=(1, 9000), kind=("PNG", "RGB"))
def test_the_worst_noise_keeps_within_the_state_budget(seed: int, size: tuple[int, int], kind: tuple[str, str]) -> None:
    image = pictures.noise(seed, size, kind[1])
    if kind[1] == "P":
        image.putpalette([255 * (index >> bit & 1) for index in range(256) for bit in range(3)])
    data = save(image, kind[0], **({"quality": 100} if kind[0] == "JPEG" else {}))
    picture = prepare(data, "picture")
    assert len(base64.b64encode(picture.data)) <= images.MAX_ENCODED
    assert shown(picture).mode in {"RGB", "L", "RGBA", "LA"}


def test_detail_that_no_quality_can_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PICTURE_BYTES", 100)
    with pytest.raises(ImageTooLarge, match="more detail than fits"):
        prepare(save(quarters(), "GIF"), "a.gif")


@pytest.mark.parametrize("name", SMALL)
def test_the_same_bytes_give_the_same_bytes(name: str) -> None:
    data = SMALL[name][0]()
    assert prepare(data, "picture") == prepare(data, "picture")


# What is refused, and why


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(InvalidImage, match="empty; upload the picture again"):
        prepare(b"", "a.jpg")


@pytest.mark.parametrize(
    "data", [b"Hello, this is a note.", bytes(100), b"<html><body>no</body></html>", b"PK\x03\x04zip"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage, match="not a picture; upload a JPEG, PNG, WebP, GIF or TIFF"):
        prepare(data, "picture")


OTHERS = {
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    "HEIF": b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic",
    "AVIF": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1",
    "BMP": save(quarters(), "BMP"),
    "PSD": b"8BPS\x00\x01" + bytes(20),
    "PDF": b"%PDF-1.7\n%\xe2\xe3",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "SVG": b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "ICO": save(quarters((32, 32)), "ICO"),
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "JPEG XL": b"\x00\x00\x00\x0cJXL \r\n\x87\n",
    "camera raw": b"II*\x00\x10\x00\x00\x00CR\x02\x00",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_known_format_that_is_not_taken_is_named(name: str) -> None:
    with pytest.raises(
        UnsupportedImage, match=f"in {name} format, which is not taken; save the picture as JPEG or PNG"
    ):
        prepare(OTHERS[name], "picture")


@pytest.mark.parametrize(
    ("key", "kind", "promised", "better"),
    [
        ("inbox/photo.jpg", "PNG", "JPEG", "photo.png"),
        ("photo.PNG", "JPEG", "PNG", "photo.jpg"),
        ("photo.webp", "GIF", "WEBP", "photo.gif"),
        ("a.b.tiff", "JPEG", "TIFF", "a.b.jpg"),
        ("notes.txt", "JPEG", "text/plain", "notes.jpg"),
        ("report.pdf", "JPEG", "application/pdf", "report.jpg"),
        ("photo.heic", "JPEG", "image/heic", "photo.jpg"),
        ("photo.bmp", "TIFF", "image/bmp", "photo.tif"),
        ("photo.dng", "JPEG", "image/x-dcraw", "photo.jpg"),
    ],
)
def test_a_misleading_name_is_refused_with_a_better_one(key: str, kind: str, promised: str, better: str) -> None:
    with pytest.raises(UnsupportedImage) as refused:
        prepare(save(quarters(), kind), key)
    for part in (f'"{key.rsplit("/")[-1]}" promises {promised}', f"holds a {kind} picture", f'name it "{better}"'):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("photo.jpeg", "JPEG"), ("photo.JPE", "JPEG"), ("photo.jfif", "JPEG"), ("a/b.Jpg", "JPEG"),
        ("photo.tif", "TIFF"), ("photo.TIFF", "TIFF"), ("photo", "PNG"), ("photo.", "PNG"),
        (".jpg", "PNG"), ("photo.v2", "GIF"), ("jpg/photo", "PNG"), ("archive.jpg/photo", "PNG"),
        ("photo.bin", "WEBP"), ("", "PNG"),
    ],
)  # fmt: skip
def test_a_name_that_promises_the_content_or_nothing_is_taken(key: str, kind: str) -> None:
    assert prepare(save(quarters(), kind), key).format == kind


@pytest.mark.parametrize("key", ["photo.nef", "photo.DNG", "photo.arw"])
def test_a_camera_raw_file_is_not_taken_for_the_tiff_that_it_looks_like(key: str) -> None:
    with pytest.raises(UnsupportedImage, match="camera raw format"):
        prepare(save(quarters(), "TIFF"), key)


def test_too_many_bytes_are_refused_before_anything_else() -> None:
    with pytest.raises(ImageTooLarge, match=r"25\.0 MiB, at most 25 MiB are taken; save the picture with fewer pixels"):
        prepare(bytes(limits.MAX_BYTES + 1), "a.jpg")


def gif_frame_beyond_its_screen() -> bytes:
    descriptor = b",\x00\x00\x00\x00\xff\xff\xff\xff\x00"
    return b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(6) + descriptor + b"\x02\x02D\x01\x00;"


def webp_canvas(width: int, height: int) -> bytes:
    body = b"VP8X\x0a\x00\x00\x00" + bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def jpeg_of_size(width: int, height: int) -> bytes:
    data = save(quarters(), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.png(20_000, 20_000, 1, 0, bytes(2501 * 20_000)),
        lambda: pictures.png(12_000, 10_000, 8, 2, b""),
        lambda: pictures.png(2**31 - 1, 2**31 - 1, 8, 6, b""),
        lambda: pictures.png(100_000, 10, 1, 0, bytes(125_010)),
        lambda: pictures.tiff((2**31, 2**31), [8], b""),
        lambda: pictures.tiff((60_000, 60_000), [8], b""),
        lambda: pictures.tiff((10, 10), [8], bytes(100), tag322=32_768, tag323=32_768, tag324=8, tag325=100),
        gif_frame_beyond_its_screen,
        lambda: webp_canvas(16_384, 16_384),
        lambda: jpeg_of_size(65_000, 65_000),
    ],
)
def test_a_bomb_is_refused_by_its_header(draw: Callable[[], bytes]) -> None:
    with pytest.raises(ImageTooLarge, match=r"at most 100 megapixels .* Save it with fewer pixels"):
        prepare(draw(), "picture")


def test_a_jpeg_of_endless_passes_is_refused() -> None:
    data = save(quarters(), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    prepare(data[:-2] + last_scan * 20 + data[-2:], "a.jpg")
    with pytest.raises(ImageTooLarge, match="too many passes to decode; save it again without the progressive option"):
        prepare(data[:-2] + last_scan * 200 + data[-2:], "a.jpg")


@pytest.mark.parametrize("name", SMALL)
def test_only_the_decoder_of_the_recognised_format_may_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[Any] = []
    real_open = Image.open

    def watched(*args: Any, **kwargs: Any) -> Any:
        allowed.append(kwargs["formats"])
        return real_open(*args, **kwargs)

    draw, kind, _ = SMALL[name]
    data = draw()
    monkeypatch.setattr(Image, "open", watched)
    prepare(data, "picture")
    assert allowed
    assert all(formats == [kind] for formats in allowed)


def test_running_out_of_memory_blames_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", no_memory)
    with pytest.raises(ImageTooLarge, match="too many pixels to decode"):
        prepare(save(quarters(), "JPEG"), "a.jpg")


@pytest.mark.parametrize("draw", [lambda: pictures.png(0, 10, 8, 2, b""), lambda: pictures.tiff((0, 10), [8], b"")])
def test_a_picture_without_pixels_is_refused(draw: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidImage):
        prepare(draw(), "picture")


def test_tones_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InvalidImage, match="no numbers; save it as an 8-bit"):
        prepare(save(exact_greys("F", (0, 1, 2, float("inf"))), "TIFF"), "a.tif")


def test_a_png_whose_checksum_is_wrong_is_refused() -> None:
    data = bytearray(save(quarters(), "PNG"))
    data[data.index(b"IEND") - 5] ^= 1
    with pytest.raises(InvalidImage, match="damaged or was not uploaded whole; open it, save it again and upload"):
        prepare(bytes(data), "a.png")


WHOLE = {
    "JPEG": save(pictures.photo((120, 90)), "JPEG"),
    "progressive JPEG": save(pictures.photo((600, 450)), "JPEG", quality=60, progressive=True),
    "PNG": save(pictures.photo((60, 45)), "PNG"),
    "WEBP": save(pictures.photo((120, 90)), "WEBP"),
    "lossless WEBP": save(quarters(), "WEBP", lossless=True),
    "GIF": save(pictures.photo((60, 45)), "GIF"),
    "TIFF": save(pictures.photo((30, 20)), "TIFF"),
    "LZW TIFF": save(pictures.photo((60, 45)), "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": save(pictures.photo((64, 48)), "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_file_cut_short_is_refused_or_lost_nothing_that_shows(name: str, data: st.DataObject) -> None:
    whole = WHOLE[name]
    cut = data.draw(st.integers(1, len(whole) - 1) | st.integers(len(whole) - 24, len(whole) - 1))
    picture = outcome(whole[:cut])
    if isinstance(picture, str):
        assert picture.endswith(".")
    else:
        assert shown(picture).tobytes() == shown(prepare(whole, "picture")).tobytes()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_half_a_file_is_refused_with_what_to_do(name: str) -> None:
    whole = WHOLE[name]
    with pytest.raises(InvalidImage, match="damaged or was not uploaded whole; open it, save it again and upload"):
        prepare(whole[: len(whole) // 2], "picture")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_mutated_file_raises_only_our_errors(name: str, data: st.DataObject) -> None:
    mutated = bytearray(WHOLE[name])
    places = st.integers(0, len(mutated) - 1) | st.integers(0, min(200, len(mutated) - 1))
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        mutated[at] = value
    if (gap := data.draw(st.none() | places)) is not None:
        del mutated[gap : gap + 7]
    picture = outcome(bytes(mutated))
    assert picture.endswith(".") if isinstance(picture, str) else len(picture.data) <= images.MAX_PICTURE_BYTES


HEADS = [b"", *(whole[:24] for whole in WHOLE.values()), *(other[:24] for other in OTHERS.values())]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=300), key=st.text(max_size=20))
def test_random_bytes_raise_only_our_errors(head: bytes, tail: bytes, key: str) -> None:
    picture = outcome(head + tail, key)
    assert picture.endswith(".") if isinstance(picture, str) else len(picture.data) <= images.MAX_PICTURE_BYTES

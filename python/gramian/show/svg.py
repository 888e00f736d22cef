"""What the pictures are made of: documents, words, numbers, colours."""

from __future__ import annotations

import base64
import math
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

DARK, LIGHT, MUTED, UNDEFINED, HATCH = "#000000", "#ffffff", "#555555", "#dddddd", "#999999"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
TITLE, LABEL, NUMBER = 15, 12, 11  # font sizes
MARGIN, GAP = 16, 8
_LONGEST = 28  # characters of a label
_SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


def stacked_svg(pictures: Sequence[str], *, title: str) -> str:
    """SVG documents below each other in one.

    Parameters
    ----------
    pictures : sequence of str
        From `chart_svg` and `heatmap_svg`.
    title : str
        Above them all.

    Returns
    -------
    str
        An SVG document.

    Examples
    --------
    >>> from gramian.show.charts import Series, chart_svg
    >>> part = chart_svg([Series("a", [1.0], [2.0])], title="part", x_label="x")
    >>> stacked_svg([part, part], title="whole").count("<svg")
    3
    """
    sizes = [(float(w), float(h)) for picture in pictures for w, h in _SIZE.findall(picture)[:1]]
    width = max(*(w for w, _ in sizes), 2 * MARGIN + width_of(title, TITLE + 2))
    top = float(MARGIN + TITLE + GAP)
    parts = opened(width, top + sum(h for _, h in sizes), title, "", size=TITLE + 2)
    for picture, (_, height) in zip(pictures, sizes, strict=True):
        parts.append(picture.replace("<svg ", f'<svg y="{px(top)}" ', 1))
        top += height
    return "\n".join([*parts, "</svg>"]) + "\n"


def opened(width: float, height: float, title: str, description: str, size: int = TITLE) -> list[str]:
    """An SVG's first lines."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {px(width)} {px(height)}" '
        f'width="{px(width)}" height="{px(height)}" font-family="{_FONT}" font-size="{LABEL}">',
        f"<title>{escaped(title)}</title>",
        f"<desc>{escaped(description)}</desc>",
        f'<rect width="100%" height="100%" fill="{LIGHT}"/>',
        text_at(MARGIN, MARGIN + size - 2, title, size=size, extra='font-weight="600"'),
    ]


def pixels(colours: NDArray[np.uint8], x: float, y: float, size: float) -> str:
    """An image in the picture, one square for each of the (height, width, 3) colours, as a PNG."""
    height, width = colours.shape[:2]
    lines = b"".join(b"\0" + row.tobytes() for row in colours)  # 0: each line as it is
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits each of red, green, blue
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(of)) + kind + of + struct.pack(">I", zlib.crc32(kind + of)) for kind, of in chunks
    )
    return (
        f'<image x="{px(x)}" y="{px(y)}" width="{px(width * size)}" height="{px(height * size)}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{base64.b64encode(data).decode()}"/>'
    )


def hex_of(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def round_steps(low: float, high: float) -> list[tuple[float, str]]:
    """Three to seven round numbers between low and high, each with its text."""
    span = high - low
    power = 10.0 ** (math.floor(math.log10(span)) - 1)
    step = next(factor * power for factor in (1, 2, 5, 10, 20, 50) if span <= 6.5 * factor * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, f"{k * step:.6g}") for k in range(first, last + 1)]


def told_apart(names: Sequence[str]) -> list[str]:
    """The names, or what tells them apart where they are too long."""
    if len(names) < 2 or max(map(len, names)) <= _LONGEST:
        return [shortened(name) for name in names]
    head, tail = _shared(names), _shared([name[::-1] for name in names])
    cut = [name[head : max(head, len(name) - tail)] for name in names]
    return [shortened(f"{'…' if head else ''}{name}{'…' if tail else ''}") for name in cut]


def _shared(names: Sequence[str]) -> int:
    """How many leading characters all names have in common, up to a separator."""
    same = 0
    for letters in zip(*names, strict=False):
        if len(set(letters)) > 1:
            break
        same += 1
    return max(names[0].rfind(separator, 0, same) + 1 for separator in "./_-: ")


def shortened(text: str, longest: int = _LONGEST) -> str:
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"


def width_of(text: str, size: float = LABEL) -> float:
    """Room for the text in pixels, on the generous side: fonts differ."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (0.6 * len(text) + 0.5 * wide)


def text_at(
    x: float,
    y: float,
    text: str,
    *,
    size: int = LABEL,
    anchor: str = "start",
    middle: bool = False,
    fill: str = DARK,
    extra: str = "",
) -> str:
    y += 0.35 * size if middle else 0  # dominant-baseline is not understood everywhere
    attributes = f'x="{px(x)}" y="{px(y)}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {attributes}{' ' + extra if extra else ''}>{escaped(text)}</text>"


def in_words(value: float) -> str:
    """What fits into a cell."""
    if value == 0 or 0.005 <= abs(value) < 100:
        return f"{value:.2f}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def px(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def escaped(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text)))

"""The pictures of README and site, as SVG: what bnfold does, for light and for dark pages, and its mark."""

from dataclasses import dataclass

WIDTH, HEIGHT = 590, 136
_MIDDLE = 78
_BOX = 50


@dataclass(frozen=True)
class Palette:
    """Colours on one kind of page.

    Attributes:
        ink: of text and arrows.
        quiet: of what is less important.
        conv, norm, rest: of a box's border and text, by what the box is.
        fill: how much of that colour the inside of a box has.
    """

    ink: str
    quiet: str
    conv: str
    norm: str
    rest: str
    fill: float


LIGHT = Palette(ink="#1f2430", quiet="#6b7280", conv="#1d5fd0", norm="#b45309", rest="#6b7280", fill=0.09)
DARK = Palette(ink="#e5e7eb", quiet="#9aa3ae", conv="#7fb0ff", norm="#f5b041", rest="#9aa3ae", fill=0.14)


def idea(palette: Palette) -> str:
    """Conv, BatchNorm and Relu become Conv and Relu: scale and shift go into the weight and the bias."""
    before = [
        _box(palette, 4, 88, "Conv", palette.conv),
        _arrow(palette, 92, 120),
        _box(palette, 120, 118, "BatchNorm", palette.norm, dashed=True),
        _arrow(palette, 238, 266),
        _box(palette, 266, 66, "Relu", palette.rest),
    ]
    after = [
        _box(palette, 404, 88, "Conv", palette.conv),
        _stripe(palette, 404, 88),
        _arrow(palette, 492, 520),
        _box(palette, 520, 66, "Relu", palette.rest),
    ]
    slide = _line("M 179 52 C 166 6, 70 6, 53 46 M 47 35 L 52 49 L 65 40", palette.norm, 2.2)
    becomes = _line(f"M 348 {_MIDDLE} H 386 M 377 {_MIDDLE - 8} L 387 {_MIDDLE} L 377 {_MIDDLE + 8}", palette.ink, 3)
    below = _MIDDLE + 48
    texts = [
        _text(48, below, "w, b", palette.quiet, 15),
        _text(179, below, "scale s, shift t", palette.norm, 15),
        _text(448, below, "s w, s b + t", palette.norm, 15),
        _text(495, 40, "same outputs", palette.quiet, 15),
    ]
    return _svg(WIDTH, HEIGHT, "A BatchNorm slides into the Conv before it", [*before, slide, becomes, *after, *texts])


def mark() -> str:
    """A box with a stripe: a Conv that has taken a BatchNorm in. On light and dark pages alike."""
    return _svg(
        64,
        64,
        "bnfold",
        [
            '<rect x="6" y="10" width="52" height="44" rx="9" fill="#1d5fd0"/>',
            '<path d="M 6 42 H 58 V 45 A 9 9 0 0 1 49 54 H 15 A 9 9 0 0 1 6 45 Z" fill="#f5b041"/>',
            _line("M 24 26 H 40 M 34 19 L 41 26 L 34 33", "#ffffff", 4),
        ],
    )


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    inside = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f"  <title>{title}</title>\n{inside}\n</svg>\n"
    )


def _box(palette: Palette, x: int, width: int, name: str, color: str, *, dashed: bool = False) -> str:
    top = _MIDDLE - _BOX / 2
    dashes = ' stroke-dasharray="6 5"' if dashed else ""
    return (
        f'<rect x="{x}" y="{top}" width="{width}" height="{_BOX}" rx="9" fill="{color}" fill-opacity="{palette.fill}" '
        f'stroke="{color}" stroke-width="2"{dashes}/>' + _text(x + width / 2, _MIDDLE + 6, name, color, 17, weight=600)
    )


def _stripe(palette: Palette, x: int, width: int) -> str:
    """What a box took in, along its lower edge."""
    bottom, right = _MIDDLE + _BOX // 2, x + width
    return (
        f'<path d="M {x} {bottom - 10} H {right} V {bottom - 9} A 9 9 0 0 1 {right - 9} {bottom} H {x + 9} '
        f'A 9 9 0 0 1 {x} {bottom - 9} Z" fill="{palette.norm}"/>'
    )


def _arrow(palette: Palette, start: int, end: int) -> str:
    tip = end - 5
    return _line(
        f"M {start + 4} {_MIDDLE} H {tip} M {tip - 6} {_MIDDLE - 5} L {tip} {_MIDDLE} L {tip - 6} {_MIDDLE + 5}",
        palette.ink,
        1.8,
    )


def _line(path: str, color: str, width: float) -> str:
    return (
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linecap="round" '
        'stroke-linejoin="round"/>'
    )


def _text(x: float, y: float, content: str, color: str, size: int, weight: int = 400) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="{color}" font-size="{size}" '
        f'font-weight="{weight}">{content}</text>'
    )

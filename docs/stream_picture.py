"""The picture of theory.md: a BatchNorm goes, and every tensor of its stream holds other numbers."""

from pictures import Palette

_WIDTH, _HEIGHT = 720, 330
_BOX_HEIGHT = 40
_SANS = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"


def stream(palette: Palette) -> str:
    """Above the block of a pre-activation network; below the same without its BatchNorm. What differs has a colour."""
    parts = [*_before(palette, 20), *_after(palette, 180)]
    inside = "\n".join(f"  {part}" for part in parts)
    title = (
        "A BatchNorm in a residual stream goes: the stream holds other numbers, and its other readers take the inverse"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" font-family="{_SANS}">\n  <title>{title}</title>\n{inside}\n</svg>\n'
    )


def _before(palette: Palette, top: int) -> list[str]:
    return [
        *_block(palette, top, palette.ink, "x"),
        _box(palette, 236, top, 100, "BatchNorm", palette.norm, dashed=True),
        _text(286, top + 56, "s x + t", palette.norm),
        _text(52, top + 25, "before", palette.quiet),
        _box(palette, 362, top, 64, "Relu", palette.rest),
        _box(palette, 452, top, 64, "Conv", palette.conv),
        _arrow(336, 362, top + 20, palette.ink),
        _arrow(426, 452, top + 20, palette.ink),
    ]


def _after(palette: Palette, top: int) -> list[str]:
    changed = palette.norm
    return [
        *_block(palette, top, changed, "x' = x - z"),
        _text(52, top + 25, "after", palette.quiet),
        _line(f"M 236 {top + 20} H 356", changed, 2.4),
        _text(292, top + 12, "x'", changed),
        _box(palette, 362, top, 64, "Relu", palette.rest),
        _box(palette, 452, top, 64, "Conv", palette.conv, stripe=changed),
        _text(484, top + 56, "s w, b + z", changed),
        _text(52, top + 132, "b - z", changed),
        _stripe(20, top + 78, 64, changed),
        _arrow(350, 362, top + 20, changed),
        _arrow(426, 452, top + 20, palette.ink),
        _text(360, top + 144, "z = -t / s, where the BatchNorm is 0, so that s x' = s x + t", palette.quiet),
    ]


def _block(palette: Palette, top: int, color: str, name: str) -> list[str]:
    """What both have: the Conv that makes the stream, the stream, the branch off it, and the sum."""
    middle = top + 98
    return [
        _box(palette, 20, top + 78, 64, "Conv", palette.conv),
        _line(f"M 84 {middle} H 570", color, 2.4),
        _arrow(560, 578, middle, color),
        _text(300, middle + 22, name, color),
        _line(f"M 180 {middle} V {top + 32} Q 180 {top + 20} 192 {top + 20} H 236", color, 2.4),
        f'<circle cx="180" cy="{middle}" r="4" fill="{color}"/>',
        _line(f"M 516 {top + 20} H 580 Q 592 {top + 20} 592 {top + 32} V {middle - 17}", palette.ink),
        _line(f"M 586 {middle - 22} L 592 {middle - 15} L 598 {middle - 22}", palette.ink),
        f'<circle cx="592" cy="{middle}" r="13" fill="none" stroke="{palette.rest}" stroke-width="2"/>',
        _line(f"M 585 {middle} H 599 M 592 {middle - 7} V {middle + 7}", palette.rest),
        _arrow(606, 668, middle, palette.ink),
        _text(690, middle + 5, "y", palette.ink),
    ]


def _box(
    palette: Palette, x: int, y: int, width: int, name: str, color: str, *, dashed: bool = False, stripe: str = ""
) -> str:
    dashes = ' stroke-dasharray="6 5"' if dashed else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{_BOX_HEIGHT}" rx="8" fill="{color}" '
        f'fill-opacity="{palette.fill}" stroke="{color}" stroke-width="2"{dashes}/>'
        + _text(x + width / 2, y + 25, name, color, weight=600)
        + (_stripe(x, y, width, stripe) if stripe else "")
    )


def _stripe(x: int, y: int, width: int, color: str) -> str:
    """What a box took in, along its lower edge."""
    bottom, right = y + _BOX_HEIGHT, x + width
    return (
        f'<path d="M {x} {bottom - 8} A 8 8 0 0 0 {x + 8} {bottom} H {right - 8} A 8 8 0 0 0 {right} {bottom - 8} Z" '
        f'fill="{color}"/>'
    )


def _arrow(start: int, end: int, y: int, color: str) -> str:
    tip = end - 4
    return _line(f"M {start} {y} H {tip} M {tip - 6} {y - 5} L {tip} {y} L {tip - 6} {y + 5}", color)


def _line(path: str, color: str, width: float = 1.8) -> str:
    return (
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width:g}" stroke-linecap="round" '
        'stroke-linejoin="round"/>'
    )


def _text(x: float, y: float, content: str, color: str, weight: int = 400) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="{color}" font-size="15" '
        f'font-weight="{weight}">{content}</text>'
    )

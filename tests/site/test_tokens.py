"""The colours of the site keep their promises: contrast of every pair, and risk bands that nobody confuses."""

import re
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import pytest

CSS = Path(__file__).resolve().parents[2] / "static" / "css" / "tokens.css"
THEMES = ("light", "dark")

Colour: TypeAlias = tuple[float, float, float]
Matrix: TypeAlias = tuple[Colour, Colour, Colour]

# Text on what it stands on: WCAG 1.4.3 asks for 4.5.
TEXT = [
    *((ink, ground) for ink in ("ink", "ink-2", "ink-3") for ground in ("canvas", "surface", "raised", "sel")),
    *(("accent", ground) for ground in ("canvas", "surface", "raised", "sel")),
    ("surface", "ink"),
    *((f"{band}-fg", f"{band}-bg") for band in ("low", "med", "high", "crit")),
    *((f"{name}-fg", f"{name}-bg") for name in ("ok", "err", "info", "taint", "hid", "add", "del")),
    ("err-fg", "surface"),
    ("taint-fg", "surface"),
    ("ink", "taint-bg"),
    ("ink-2", "taint-bg"),
]
# Borders, shapes and the focus ring: WCAG 1.4.11 asks for 3.
SHAPES = [
    *(("line-strong", ground) for ground in ("canvas", "surface", "raised")),
    *(("focus", ground) for ground in ("canvas", "surface", "raised", "sel")),
    *((f"{band}-bd", "surface") for band in ("low", "med", "high", "crit")),
    ("taint-fg", "surface"),
    ("taint-fg", "taint-bg"),
]
BANDS = ("low-bg", "med-bg", "high-bg", "crit-bg")

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISION: dict[str, Matrix] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
# Ottosson 2020: linear sRGB to LMS, then its cube root to OKLab.
LMS: Matrix = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
OKLAB: Matrix = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def tokens() -> dict[str, dict[str, Colour]]:
    """Return the linear RGB of every colour token, by theme and name."""
    found = re.findall(r"--([\w-]+):\s*light-dark\((#\w{6}),\s*(#\w{6})\)", CSS.read_text())
    return {
        "light": {name: linear(light) for name, light, _ in found},
        "dark": {name: linear(dark) for name, _, dark in found},
    }


def linear(code: str) -> Colour:
    """Return the linear-light RGB of `#RRGGBB`."""
    red, green, blue = (int(code[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def luminance(colour: Colour) -> float:
    """Return the relative luminance of WCAG 2."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of WCAG 2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def times(matrix: Matrix, colour: Colour) -> Colour:
    """Multiply."""
    first, second, third = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return first, second, third


def difference(one: Colour, other: Colour, vision: Matrix) -> float:
    """Return the distance in OKLab, times 100, as a person with this vision sees it."""
    seen = []
    for colour in (one, other):
        red, green, blue = (min(max(channel, 0.0), 1.0) for channel in times(vision, colour))
        long, middle, short = (value ** (1 / 3) for value in times(LMS, (red, green, blue)))
        seen.append(times(OKLAB, (long, middle, short)))
    return float(100 * sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_can_be_read(theme: str, ink: str, ground: str) -> None:
    colours = tokens()[theme]
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("shape", "ground"), SHAPES)
def test_shapes_can_be_seen(theme: str, shape: str, ground: str) -> None:
    colours = tokens()[theme]
    assert contrast(colours[shape], colours[ground]) >= 3.0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISION)
def test_neighbouring_bands_are_told_apart_by_everybody(theme: str, vision: str) -> None:
    colours = tokens()[theme]
    for lower, higher in pairwise(BANDS):
        assert difference(colours[lower], colours[higher], VISION[vision]) >= 10, (lower, higher)


@pytest.mark.parametrize("theme", THEMES)
def test_risk_is_a_ramp_in_grey(theme: str) -> None:
    ramp = [luminance(tokens()[theme][band]) for band in BANDS]
    assert ramp == sorted(ramp, reverse=theme == "light")

"""Three instruments that look at one field of skin: a camera, a dermoscope, a calibrated multi-band imager.

Belongs here: light, lenses, sensors. Does not belong here: the skin (maps), its colour (optics), files (tree).

One law for all tones and severities; what is drawn at random here depends on nothing of the skin but, through the
automatic exposure, on the mean brightness. The instruments complement each other: the camera sees the whole
field in light of unknown colour and slope; the dermoscope sees the truest colour, but only the middle of the field; the
imager sees the whole field in calibrated bands, at low resolution.
"""

from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mm_assets.pigmentation.synthetic.maps import FIELD_PX, SkinMaps
from mm_assets.pigmentation.synthetic.optics import reflectance, skin_color

# Linear sRGB [3, H, W] of melanin and blood [H, W]; reflectance [B, H, W] of them at wavelengths [B] in nm.
Colorist = Callable[[np.ndarray, np.ndarray], np.ndarray]
Spectrometer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Side of what the dermoscope sees, in shares of the field.
DERMOSCOPE_VIEW = 0.45

_MID_GREY = 0.30
_HAIR_ALBEDO = 0.08
_CUBE_NOISE = (0.004, 0.006)  # absolute, and relative to the signal
_GAMMA_STEPS = 65_536


def clinical_picture(maps: SkinMaps, rng: np.random.Generator, px: int, colorist: Colorist = skin_color) -> np.ndarray:
    """sRGB uint8 [px, px, 3]: the whole field in a room's light."""
    zoom = rng.uniform(0.95, 1.0)
    left, top = rng.uniform(0, 1 - zoom, 2)
    box = (left, top, left + zoom, top + zoom)
    light = colorist(_view(maps.melanin, box, px), _view(maps.blood, box, px))
    light *= _hair_shadow(maps.hairs, box, px)
    color, shade = _illumination(rng, px)
    light *= color[:, None, None]
    light *= shade
    light += _glare(rng, px)
    light *= _exposure(light, rng, error=0.10)
    _blur(light, rng.uniform(0.0, 0.22))
    return _developed(light, rng, shot=0.010, read=0.0015)


def dermoscopy_picture(
    maps: SkinMaps, rng: np.random.Generator, px: int, colorist: Colorist = skin_color
) -> np.ndarray:
    """sRGB uint8 [px, px, 3]: the middle of the lesion in polarised light of known colour and strength."""
    half = DERMOSCOPE_VIEW / 2
    x, y = (min(max(at + rng.normal(0, 0.02), half), 1 - half) for at in maps.centre)
    box = (x - half, y - half, x + half, y + half)
    melanin = _view(maps.melanin, box, px)
    melanin += _view(maps.excess, box, px) * (np.float32(rng.uniform(0.1, 0.35)) * _network(rng, px))
    light = colorist(melanin, _view(maps.blood, box, px))
    light *= _hair_shadow(maps.hairs, box, px)
    light *= _exposure(light, rng, error=0.02)
    gain = np.exp(rng.normal(0, 0.015, 3)).astype(np.float32)
    light *= gain[:, None, None]
    light *= 1 - np.float32(rng.uniform(0.05, 0.2)) * _radius(px) ** 2
    _blur(light, rng.uniform(0.0, 0.08))
    return _developed(light, rng, shot=0.005, read=0.0006)


def reflectance_cube(
    maps: SkinMaps,
    rng: np.random.Generator,
    px: int,
    wavelengths_nm: np.ndarray,
    spectra: Spectrometer = reflectance,
) -> np.ndarray:
    """Reflectance in [0, 1], float16 [px, px, B]: the whole field, divided by a white reference."""
    fine = 2 * px  # bands are averaged over a pixel, not the skin below it
    field = (0.0, 0.0, 1.0, 1.0)
    bands = spectra(_view(maps.melanin, field, fine), _view(maps.blood, field, fine), wavelengths_nm)
    bands *= _hair_shadow(maps.hairs, field, fine)
    bands = bands[:, 0::2] + bands[:, 1::2]
    cube = bands[:, :, 0::2] + bands[:, :, 1::2]
    cube *= 0.25 * np.exp(rng.normal(0, 0.01, (len(cube), 1, 1))).astype(np.float32)  # error of the white reference
    absolute, relative = _CUBE_NOISE
    noise = _white_noise(rng, cube.shape)
    noise *= absolute + relative * cube
    cube += noise
    return np.ascontiguousarray(np.clip(cube, 0.0, 1.0, out=cube).astype(np.float16).transpose(1, 2, 0))


def _view(values: np.ndarray, box: tuple[float, float, float, float], px: int) -> np.ndarray:
    """The part of a map inside a box of shares of the field, float32 [px, px]."""
    pixels: Any = tuple(edge * FIELD_PX for edge in box)
    return np.array(Image.fromarray(values).resize((px, px), Image.Resampling.BILINEAR, box=pixels))


def _illumination(rng: np.random.Generator, px: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour [3] and slope [px, px] of a room's light, float32 around 1."""
    warmth, tint = rng.normal(0, 0.10), rng.normal(0, 0.035)
    color = np.exp(np.array([warmth + tint / 2, -tint, -warmth + tint / 2])).astype(np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi), np.float32(abs(rng.normal(0, 0.16)))
    axis = _axis(px)
    shade = 1 + slope * (np.float32(np.cos(angle)) * axis[None, :] + np.float32(np.sin(angle)) * axis[:, None])
    shade -= np.float32(rng.uniform(0.0, 0.10)) * _radius(px) ** 2
    return color, shade


def _exposure(light: np.ndarray, rng: np.random.Generator, error: float) -> np.float32:
    """Automatic exposure: 60 % of the way, in stops, from the picture's mean to a mid grey; and its error."""
    return np.float32((_MID_GREY / light.mean()) ** 0.6 * np.exp(rng.normal(0, error)))


def _glare(rng: np.random.Generator, px: int) -> np.ndarray:
    """Reflections of lamps on oily skin, linear light, float32 [px, px]: broken up by the skin's relief."""
    axis = _axis(px)
    glare = np.zeros((px, px), dtype=np.float32)
    for _ in range(int(rng.poisson(1.2))):
        at, widths = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.06, 0.28, 2)
        strength = np.float32(rng.exponential(0.16))
        across, down = (
            np.exp(-(((axis - np.float32(c)) / np.float32(w)) ** 2)) for c, w in zip(at, widths, strict=True)
        )
        glare += strength * down[:, None] * across[None, :]
    relief = rng.random((px // 2 + 1, px // 2 + 1), dtype=np.float32)
    relief = relief.repeat(2, axis=0).repeat(2, axis=1)[:px, :px]
    return glare * relief * relief


def _network(rng: np.random.Generator, px: int) -> np.ndarray:
    """Fine pigment network as seen from near, float32 [px, px], mean 0: no melanin is added by it."""
    cells = 28
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    fine = np.array(Image.fromarray(coarse).resize((px, px), Image.Resampling.BICUBIC))
    return fine - fine.mean()


def _hair_shadow(hairs: np.ndarray, box: tuple[float, float, float, float], px: int) -> np.ndarray:
    """1 on skin, less below a hair, float32 [px, px]."""
    if not len(hairs):
        return np.ones((1, 1), dtype=np.float32)
    width = 0.006 / (box[2] - box[0]) * px
    # Drawn twice as fine, so that a hair may be thinner than a pixel.
    canvas = Image.new("L", (2 * px, 2 * px), 255)
    draw = ImageDraw.Draw(canvas)
    at = (hairs - np.array(box[:2])) / (box[2] - box[0]) * (2 * px)
    for line in at:
        draw.line(
            [(float(x), float(y)) for x, y in line], fill=round(255 * _HAIR_ALBEDO), width=max(1, round(2 * width))
        )
    return np.asarray(canvas.reduce(2), dtype=np.float32) / np.float32(255)


def _blur(light: np.ndarray, weight: float) -> None:
    """Smooth [3, H, W] in place by a kernel (w, 1 - 2 w, w) along both axes; borders keep their values."""
    w = np.float32(weight)
    for plane in light:  # one at a time stays in the cache
        for along in (plane, plane.T):
            change = along[:-2] + along[2:]
            change -= 2 * along[1:-1]
            change *= w
            along[1:-1] += change


def _developed(light: np.ndarray, rng: np.random.Generator, shot: float, read: float) -> np.ndarray:
    """Linear light [3, H, W] with the sensor's noise, as sRGB uint8 [H, W, 3]. shot: noise of a full pixel."""
    picture = np.empty((*light.shape[1:], 3), dtype=np.uint8)
    for channel, plane in enumerate(light):
        spread = plane * np.float32(shot**2)
        spread += np.float32(read**2)
        noise = _white_noise(rng, plane.shape)
        noise *= np.sqrt(spread, out=spread)
        noise += plane
        noise *= np.float32(_GAMMA_STEPS - 1)
        np.clip(noise, 0, _GAMMA_STEPS - 1, out=noise)
        picture[..., channel] = _gamma().take(noise.astype(np.uint16))
    return picture


def _white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent normal values, float32: 16 random bits choose among quantiles, five times as fast as drawing each."""
    bits = np.frombuffer(rng.bytes(2 * int(np.prod(shape))), dtype="<u2")
    return _quantiles().take(bits).reshape(shape)


@lru_cache(maxsize=1)
def _quantiles() -> np.ndarray:
    normal = NormalDist()
    return np.array([normal.inv_cdf((i + 0.5) / 65_536) for i in range(65_536)], dtype=np.float32)


@lru_cache(maxsize=1)
def _gamma() -> np.ndarray:
    """uint8 sRGB of linear light in steps of 1 / (_GAMMA_STEPS - 1)."""
    linear = np.linspace(0, 1, _GAMMA_STEPS)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


@lru_cache(maxsize=4)
def _axis(px: int) -> np.ndarray:
    return ((2 * np.arange(px) + 1) / px - 1).astype(np.float32)


@lru_cache(maxsize=4)
def _radius(px: int) -> np.ndarray:
    """From the middle of the picture, 1 at the middle of its sides, float32 [px, px]."""
    axis = _axis(px)
    return np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)

"""The healthy chest of a film: body outline, lungs, heart, mediastinum, ribs, diaphragm, clavicles.

Belongs here: geometry and attenuation of a normal frontal film.
Does not belong here: disease, devices, grain.

Coordinates: y runs from 0 (top) to 1 (bottom) of the patient's field, x from -1 to 1 with the patient's left
on the right of the film. Attenuation is 0 for air outside the body and about 1 for the densest bone.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Width of the field by its height; films that are wider show more arm.
_ASPECT = 0.8325


@dataclass(frozen=True)
class Build:
    """A patient's proportions on this film, all lengths in film coordinates."""

    heart: float  # horizontal radius of the heart
    mediastinum: float  # half width above the heart
    base: tuple[float, float]  # height of the diaphragm domes: patient's right, left
    thorax: float  # half width of the thorax inside the ribs
    shift: tuple[float, float]
    turn: float  # radians
    zoom: float
    female: bool
    portable: bool


@dataclass
class Chest:
    """A film being drawn. Arrays are float32 [rows, columns].

    attenuation grows as things are added; lungs (patient's right, left) are soft masks; edge is 1 at the
    inner chest wall and smaller inside; dome is the height of the diaphragm at each column of either side.
    """

    x: np.ndarray
    y: np.ndarray
    attenuation: np.ndarray
    lungs: tuple[np.ndarray, np.ndarray]
    edge: np.ndarray
    dome: np.ndarray
    texture: np.ndarray
    build: Build


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """Soft step from 0 to 1 where `distance` changes sign, over about four `width`s."""
    return 1.0 / (1.0 + np.exp(np.clip(distance * (-1.0 / width), -30.0, 30.0)))


def opacify(chest: Chest, mask: np.ndarray, level: float) -> None:
    """Fill air: bring attenuation up to `level` where `mask` (0-1) says so; what is denser already stays."""
    chest.attenuation += np.clip(mask, 0.0, 1.0) * np.maximum(level - chest.attenuation, 0.0)


def draw_build(
    rng: np.random.Generator, *, female: bool, portable: bool, large_heart: float, wide_mediastinum: float
) -> Build:
    """Random proportions. A portable film magnifies the heart, catches a shallower breath and lies crooked.

    large_heart, wide_mediastinum: strength of those findings, 0 for none.
    """
    shallow = 0.035 if portable else 0.0
    return Build(
        heart=float(rng.normal(0.36, 0.022) * (1.10 if portable else 1.0) * (1 + 0.30 * large_heart)),
        mediastinum=float(rng.normal(0.135, 0.010) * (1.08 if portable else 1.0) + 0.105 * wide_mediastinum),
        base=(float(rng.normal(0.715, 0.014)) - shallow, float(rng.normal(0.738, 0.014)) - shallow),
        thorax=float(rng.normal(0.80, 0.018)),
        shift=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.012))),
        turn=float(rng.normal(0, 0.030 if portable else 0.012)),
        zoom=float(rng.normal(1.0, 0.025)),
        female=female,
        portable=portable,
    )


def grid(rows: int, columns: int, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """Film coordinates (x, y) of every pixel, float32 [rows, columns]."""
    height = min(rows, columns / _ASPECT)
    v = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2)[:, None] / height
    u = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2)[None, :] / (height * _ASPECT / 2)
    cos, sin = np.cos(build.turn) / build.zoom, np.sin(build.turn) / build.zoom
    half = _ASPECT / 2
    x = u * np.float32(cos) + v * np.float32(sin / half) - np.float32(build.shift[0])
    y = v * np.float32(cos) - u * np.float32(sin * half) + np.float32(0.5 - build.shift[1])
    return x, y


def to_pixels(points: np.ndarray, rows: int, columns: int, build: Build) -> list[tuple[float, float]]:
    """Pixel positions (column, row) of film coordinates [n, 2]: the inverse of `grid`."""
    height = min(rows, columns / _ASPECT)
    half = _ASPECT / 2
    a = (points[:, 0] + build.shift[0]) * half
    b = points[:, 1] - 0.5 + build.shift[1]
    cos, sin = np.cos(build.turn) * build.zoom, np.sin(build.turn) * build.zoom
    column = (a * cos - b * sin) * height + (columns - 1) / 2
    row = (a * sin + b * cos) * height + (rows - 1) / 2
    return list(zip(column.tolist(), row.tolist(), strict=True))


def smooth_noise(shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Random field of standard deviation about 1 whose features have the size of a cell."""
    field = rng.standard_normal(cells).astype(np.float32)
    return np.asarray(Image.fromarray(field).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def strokes(
    lines: list[tuple[np.ndarray, float, float]], rows: int, columns: int, build: Build, blur: float
) -> np.ndarray:
    """Lines as a layer, float32 [rows, columns] in 0..1.

    lines: (points [n, 2] in film coordinates, width as a share of the film's height, strength 0..1).
    """
    layer = Image.new("L", (columns, rows), 0)
    draw = ImageDraw.Draw(layer)
    for points, width, strength in sorted(lines, key=lambda line: line[2]):
        pixels = max(1, round(width * min(rows, columns / _ASPECT)))
        course = to_pixels(points, rows, columns, build)
        draw.line(course, fill=round(255 * strength), width=pixels, joint="curve")
    if blur > 0:
        layer = layer.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(layer, dtype=np.float32) / 255.0


def draw_chest(rows: int, columns: int, build: Build, rng: np.random.Generator) -> Chest:
    """A healthy chest of the given build."""
    x, y = grid(rows, columns, build)
    across = np.abs(x)
    body = _body(x, y)
    above = np.minimum(y - 0.62, 0.0) / 0.51
    edge = ((across / build.thorax) ** 2.3 + np.abs(above) ** 2.3) ** (1 / 2.3)
    side = x > 0
    dome = np.where(side, build.base[1], build.base[0]) + 0.09 * ((across - 0.44) / 0.40) ** 2
    lung = step(1.0 - edge, 0.012) * step(dome - y, 0.006) * step(across - 0.09, 0.012)
    lungs = (np.where(side, 0, lung), np.where(side, lung, 0))

    central = _mediastinum(x, y, build)
    texture = smooth_noise((rows, columns), (max(4, rows // 5), max(4, columns // 5)), rng)
    attenuation = body * (0.58 + 0.035 * smooth_noise((rows, columns), (7, 6), rng))
    attenuation += body * 0.10 * step(y - dome, 0.02)
    attenuation -= 0.36 * lung * (1.0 - 0.82 * central)
    attenuation += 0.13 * central * step(y - 0.12, 0.02) * body
    attenuation += 0.012 * texture * lung
    # Bones stand out against air and drown in soft tissue.
    bones_seen = 0.35 + 0.65 * np.maximum(lung * (1.0 - 0.75 * central), step(0.24 - y, 0.03))
    attenuation += _bones(x, y, across, edge, body) * bones_seen
    attenuation += _vessels(rows, columns, build, rng) * lung * (1.0 - central) * 0.13
    # Trachea and main bronchi, then air in the stomach.
    attenuation -= 0.13 * np.exp(-((x / 0.032) ** 2)) * step(0.36 - y, 0.01) * body
    bubble = ((x - 0.36) / 0.15) ** 2 + ((y - build.base[1] - 0.09) / 0.032) ** 2
    attenuation -= 0.16 * step(1.0 - bubble, 0.12)
    if build.female:
        breast = ((across - 0.43) / 0.30) ** 2 + ((y - 0.64) / 0.145) ** 2
        attenuation += 0.05 * step(1.0 - breast, 0.10) * body
    return Chest(x, y, attenuation, lungs, edge, dome, texture, build)


def _body(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Trunk and neck: a soft mask, 1 inside."""
    column = y[:, :1]
    shoulders = 0.30 + 0.80 * step(column - 0.10, 0.022)
    half = shoulders - 0.10 * step(column - 0.42, 0.05) - 0.03 * step(column - 0.80, 0.05)
    return step(half - np.abs(x), 0.018)


def _mediastinum(x: np.ndarray, y: np.ndarray, build: Build) -> np.ndarray:
    """Heart, great vessels and spine as one soft mask."""
    u, v = x - 0.36 * build.heart, y - 0.60
    tilt = 0.55
    along, across = u * np.cos(tilt) + 2.0 * v * np.sin(tilt), 2.0 * v * np.cos(tilt) - u * np.sin(tilt)
    girth = 0.285 + 0.55 * (build.heart - 0.36)
    heart = step(1.0 - (along / (1.12 * build.heart)) ** 2 - (across / girth) ** 2, 0.05)
    width = build.mediastinum + 0.05 * np.maximum(0.0, y[:, :1] - 0.35)
    trunk = step(width - np.abs(x - 0.02), 0.012) * step(0.78 - y, 0.02)
    knob = step(1.0 - ((x - 0.55 * build.mediastinum - 0.05) / 0.095) ** 2 - ((y - 0.315) / 0.052) ** 2, 0.10)
    return np.maximum(np.maximum(heart, trunk), 0.9 * knob)


def _bones(x: np.ndarray, y: np.ndarray, across: np.ndarray, edge: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Ribs behind and in front, clavicles, vertebrae, humeral heads."""
    cage = step(1.03 - edge, 0.012) * step(across - 0.06, 0.02) * step(0.86 - y, 0.03)
    behind = np.cos((y - 0.17 * across**1.4 + 0.05 * across) * (2 * np.pi / 0.066))
    front = np.cos((y + 0.26 * across - 0.05) * (2 * np.pi / 0.082))
    bones = 0.065 * cage * step(behind - 0.25, 0.10)
    bones += 0.030 * cage * step(front - 0.35, 0.12) * step(across - 0.3, 0.05)
    # Clavicles: a band that rises towards the shoulder.
    band = np.abs(y - (0.205 - 0.115 * across + 0.03 * np.sin(across * 6.0)))
    bones += 0.11 * step(0.0135 - band, 0.003) * step(across - 0.07, 0.02) * step(0.72 - across, 0.03)
    vertebrae = 1.0 + 0.6 * np.cos(y * (2 * np.pi / 0.048))
    bones += 0.035 * step(0.075 - across, 0.012) * vertebrae * step(y - 0.03, 0.02)
    bones += 0.10 * step(1.0 - ((across - 0.98) / 0.13) ** 2 - ((y - 0.185) / 0.055) ** 2, 0.12)
    bones += 0.045 * step(1.0 - ((across - 0.80) / 0.12) ** 2 - ((y - 0.34) / 0.13) ** 2, 0.15)
    return bones * body


def _vessels(rows: int, columns: int, build: Build, rng: np.random.Generator) -> np.ndarray:
    """Pulmonary vessels fanning out from both hila, thinner towards the periphery."""
    lines = []
    for side in (-1.0, 1.0):
        hilum = np.array([side * 0.17, 0.445 if side < 0 else 0.43])
        for angle in np.linspace(-1.35, 1.35, 9) + rng.normal(0, 0.08, 9):
            position, width, heading = hilum, 0.011, angle
            for _ in range(3):
                heading += rng.normal(0, 0.18)
                length = rng.uniform(0.07, 0.12)
                tip = position + length * np.array([side * np.cos(heading) * 2.0, np.sin(heading)])
                lines.append((np.stack([position, tip]), width, 0.3 + 55 * width))
                fork = heading + rng.choice([-0.5, 0.5])
                twig = tip + 0.6 * length * np.array([side * np.cos(fork) * 2.0, np.sin(fork)])
                lines.append((np.stack([tip, twig]), width * 0.5, 0.25))
                position, width = tip, width * 0.62
    return strokes(lines, rows, columns, build, blur=max(0.6, rows / 450))

"""Disease on the film: how a radiologist would expect each finding to look.

Belongs here: the drawing of findings into a chest. Does not belong here: devices (`devices.py`), how often a
finding
shows (`appearance.py`), the size of heart and mediastinum (part of the build in `anatomy.py`).

Every function changes the attenuation of a `Chest` in place and takes a strength `a` of about .45 to 1.6.
"""

import numpy as np

from mm_assets.mimic.synthetic.anatomy import Chest, opacify, step

Line = tuple[np.ndarray, float, float]


def pleural_effusion(chest: Chest, a: float, rng: np.random.Generator) -> None:
    """Homogeneous fluid at one base, or both, with a meniscus that climbs the lateral wall."""
    sides = (0, 1) if rng.random() < 0.35 else (int(rng.integers(0, 2)),)
    for side in sides:
        level = chest.build.base[side] + 0.05 - a * rng.uniform(0.09, 0.16)
        across = np.abs(chest.x)
        surface = level + 0.02 - 0.13 * np.clip((across - 0.25) / 0.55, 0.0, 1.2) ** 2
        fluid = step(chest.y - surface, 0.012) * chest.lungs[side]
        opacify(chest, 0.95 * fluid, 0.60)


def pneumothorax(chest: Chest, a: float, rng: np.random.Generator) -> list[Line]:
    """Black rim without lung markings at apex and side, bounded by a thin pleural line; the lung sags
    inwards."""
    side = int(rng.integers(0, 2))
    depth = 0.10 + 0.20 * a
    if chest.build.portable and rng.random() < 0.4:
        # Lying down, air collects at the base: a deep, dark costophrenic sulcus.
        depth += 0.04
        sulcus = step(chest.edge - 0.72, 0.03) * step(chest.y - 0.60, 0.02) * chest.lungs[side]
        chest.attenuation -= 0.10 * sulcus
    rim = step(chest.edge - (1.0 - depth), 0.008) * chest.lungs[side] * step(0.66 - chest.y, 0.05)
    floor = 0.10 + 0.02 * chest.edge
    chest.attenuation = chest.attenuation * (1 - 0.8 * rim) + floor * 0.8 * rim
    inside = step((1.0 - depth) - chest.edge, 0.05) * chest.lungs[side]
    chest.attenuation += 0.06 * a * inside
    angle = np.linspace(0.30, 1.42, 24)
    radius = 1.0 - depth
    sign = -1.0 if side == 0 else 1.0
    across = chest.build.thorax * radius * np.sin(np.linspace(1.45, 0.28, 24)) ** (2 / 2.3)
    height = 0.62 - 0.51 * radius * np.sin(angle) ** (2 / 2.3)
    return [(np.stack([sign * across, height], axis=1), 0.0035, 0.75)]


def edema(chest: Chest, a: float, rng: np.random.Generator) -> list[Line]:
    """Bat-wing haze around both hila with fluffy texture, and Kerley B lines at the lateral bases."""
    for side, sign in ((0, -1.0), (1, 1.0)):
        wing = np.exp(-(((chest.x - sign * 0.30) / 0.30) ** 2) - ((chest.y - 0.48) / 0.19) ** 2)
        haze = a * rng.uniform(0.85, 1.15) * (0.14 + 0.66 * wing) * (1.0 + 0.22 * chest.texture)
        opacify(chest, haze * chest.lungs[side], 0.56)
    lines: list[Line] = []
    for sign in (-1.0, 1.0):
        for height in np.arange(0.56, 0.70, 0.014):
            inner, outer = rng.uniform(0.62, 0.68), rng.uniform(0.75, 0.78)
            lines.append((np.array([[sign * inner, height], [sign * outer, height - 0.003]]), 0.0025, 0.5))
    return lines


def airspace_patch(
    chest: Chest, a: float, rng: np.random.Generator, *, density: float, size: float, lower: float
) -> None:
    """Ill-defined patch in one lung. `lower` is the chance of the lower zone."""
    side = int(rng.random() < 0.45)
    sign = -1.0 if side == 0 else 1.0
    height = rng.uniform(0.56, 0.65) if rng.random() < lower else rng.uniform(0.28, 0.45)
    centre = sign * rng.uniform(0.40, 0.55) if side == 0 else rng.uniform(0.50, 0.60)
    wobble = 1.0 + 0.16 * chest.texture
    radius = ((chest.x - centre) / (2.1 * size)) ** 2 + ((chest.y - height) / size) ** 2
    patch = step(1.0 - radius * wobble, 0.28)
    opacify(chest, a * density * patch * chest.lungs[side] * (1.0 + 0.16 * chest.texture), 0.66)


def consolidation(chest: Chest, a: float, rng: np.random.Generator) -> None:
    """A dense lobe with a straight fissure as its border and air bronchograms inside."""
    side = int(rng.random() < 0.45)
    across = np.abs(chest.x)
    if rng.random() < 0.35:  # upper lobe, above the minor fissure
        fissure = rng.uniform(0.36, 0.42)
        lobe = step(fissure - chest.y + 0.03 * across, 0.006)
    else:
        top = rng.uniform(0.50, 0.55)
        lobe = step(chest.y - top - 0.06 * (across - 0.4), 0.006) * step(0.72 - across, 0.06)
    lobe = lobe * chest.lungs[side]
    bronchi = np.zeros_like(across)
    for slope in (-0.10, 0.10, 0.32):
        bronchi = np.maximum(bronchi, np.exp(-(((chest.y - 0.45 - slope * (across - 0.15)) / 0.006) ** 2)))
    opacify(chest, a * 0.9 * lobe * (1.0 - 0.5 * bronchi), 0.68)


def atelectasis(chest: Chest, a: float, rng: np.random.Generator) -> list[Line]:
    """Plate-like bands above a raised diaphragm."""
    side = int(rng.integers(0, 2))
    sign = -1.0 if side == 0 else 1.0
    raised = chest.build.base[side] - 0.055 * a
    below = step(chest.y - raised - 0.09 * ((np.abs(chest.x) - 0.44) / 0.4) ** 2, 0.010)
    opacify(chest, 0.9 * below * chest.lungs[side], 0.62)
    lines: list[Line] = []
    for _ in range(int(rng.integers(2, 4))):
        start = np.array([sign * rng.uniform(0.20, 0.32), raised - rng.uniform(0.03, 0.11)])
        end = start + np.array([sign * rng.uniform(0.26, 0.42), rng.uniform(-0.03, 0.03)])
        lines.append((np.stack([start, end]), 0.010, min(1.0, 0.55 * a)))
    return lines


def lung_lesion(chest: Chest, a: float, rng: np.random.Generator) -> None:
    """One to three round, sharply bounded nodules or a mass."""
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        side = int(rng.integers(0, 2))
        sign = -1.0 if side == 0 else 1.0
        radius = rng.uniform(0.022, 0.042) * (0.7 + 0.5 * a)
        x, y = sign * rng.uniform(0.30, 0.60), rng.uniform(0.27, 0.62)
        distance = np.sqrt(((chest.x - x) / 2.4) ** 2 + (chest.y - y) ** 2)
        opacify(chest, 0.85 * step(radius - distance, 0.003) * chest.lungs[side], 0.56)


def fracture(chest: Chest, a: float, rng: np.random.Generator) -> list[Line]:
    """Lateral ribs with a step, and a dense callus at the break."""
    sign = float(rng.choice([-1.0, 1.0]))
    lines: list[Line] = []
    for number in range(int(rng.integers(2, 5))):
        y = 0.36 + 0.066 * number + rng.normal(0, 0.004)
        x = 0.63 + 0.02 * number
        for part, offset in ((-1, -0.007), (1, 0.009)):
            rib = np.array([[x + 0.01 * part, y + offset], [x + 0.11 * part, y + offset + 0.035 * part]])
            lines.append((rib * np.array([sign, 1.0]), 0.011, min(1.0, 0.55 * a)))
    return lines


def pleural_other(chest: Chest, a: float, rng: np.random.Generator) -> list[Line]:
    """Thickened, partly calcified pleura along the wall and a cap at the apex."""
    side = int(rng.integers(0, 2))
    rim = step(chest.edge - (1.0 - 0.055 * a), 0.010) * chest.lungs[side]
    opacify(chest, 0.85 * rim, 0.62)
    sign = -1.0 if side == 0 else 1.0
    lines: list[Line] = []
    for _ in range(4):
        centre = np.array([sign * rng.uniform(0.35, 0.66), rng.uniform(0.40, 0.66)])
        reach = np.array([sign * rng.uniform(0.03, 0.08), rng.uniform(-0.02, 0.02)])
        lines.append((np.stack([centre - reach, centre + reach]), 0.008, min(1.0, 0.6 * a)))
    return lines

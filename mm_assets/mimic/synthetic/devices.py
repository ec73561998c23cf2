"""Support devices on the film: tubes, lines, pacemakers, electrodes.

Belongs here: their course as lines in film coordinates. Does not belong here: findings of the patient.
"""

import numpy as np

from mm_assets.mimic.synthetic.findings import Line


def support_devices(a: float, portable: bool, rng: np.random.Generator) -> list[Line]:
    """One to three devices as lines (points in film coordinates, width by film height, strength 0-1)."""
    devices = [_pacemaker, _central_line, _sternal_wires, _chest_tube]
    if portable:
        devices += [_airway_and_stomach_tubes, _electrodes, _airway_and_stomach_tubes]
    count = 1 + int(rng.random() < 0.5 * a) + int(portable and rng.random() < 0.4)
    chosen = rng.choice(len(devices), min(count, len(devices)), replace=False)
    lines = [line for index in chosen for line in devices[index](rng)]
    return [(points, width, min(1.0, strength * (0.5 + 0.5 * a))) for points, width, strength in lines]


def _curve(*points: tuple[float, float]) -> np.ndarray:
    """Smooth curve through control points (quadratic interpolation of each coordinate), [24, 2]."""
    anchors = np.array(points)
    t = np.linspace(0, 1, len(anchors))
    return np.stack([_interpolate(t, anchors[:, axis]) for axis in (0, 1)], axis=1)


def _interpolate(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.polyval(np.polyfit(t, values, min(3, len(t) - 1)), np.linspace(0, 1, 24))


def _pacemaker(rng: np.random.Generator) -> list[Line]:
    x, y = 0.55 + rng.normal(0, 0.03), 0.25 + rng.normal(0, 0.015)
    case = np.array([[x - 0.07, y], [x + 0.07, y]])
    atrium = _curve((x - 0.06, y), (0.25, 0.20), (-0.06, 0.30), (-0.12, 0.52))
    ventricle = _curve((x - 0.06, y + 0.01), (0.22, 0.21), (-0.09, 0.36), (0.02, 0.62), (0.22, 0.68))
    return [(case, 0.062, 1.0), (atrium, 0.0055, 0.9), (ventricle, 0.0055, 0.9)]


def _central_line(rng: np.random.Generator) -> list[Line]:
    if rng.random() < 0.5:  # internal jugular
        course = _curve((-0.17, 0.02), (-0.16, 0.16), (-0.12, 0.30), (-0.10, 0.46))
    else:  # from the arm
        course = _curve((-0.99, 0.22), (-0.55, 0.17), (-0.16, 0.26), (-0.10, 0.46))
    return [(course + rng.normal(0, 0.008, 2), 0.006, 0.85)]


def _sternal_wires(rng: np.random.Generator) -> list[Line]:
    rings = []
    angle = np.linspace(0, 2 * np.pi, 16)
    for y in np.linspace(0.27, 0.60, 6) + rng.normal(0, 0.004, 6):
        ring = np.stack([0.035 * np.cos(angle) + 0.005, y + 0.011 * np.sin(angle)], axis=1)
        rings.append((ring, 0.004, 1.0))
    return rings


def _chest_tube(rng: np.random.Generator) -> list[Line]:
    sign = float(rng.choice([-1.0, 1.0]))
    course = _curve((sign * 1.0, 0.66), (sign * 0.66, 0.58), (sign * 0.52, 0.40), (sign * 0.40, 0.22))
    return [(course, 0.011, 0.55), (course, 0.003, 1.0)]


def _airway_and_stomach_tubes(rng: np.random.Generator) -> list[Line]:
    shift = rng.normal(0, 0.008)
    airway = np.array([[shift, 0.0], [shift, 0.15], [0.01 + shift, 0.30]])
    stomach = _curve((0.03, 0.0), (0.04, 0.25), (0.05, 0.60), (0.22, 0.84))
    return [(airway, 0.014, 0.55), (airway + np.array([0.012, 0.0]), 0.003, 0.9), (stomach, 0.006, 0.85)]


def _electrodes(rng: np.random.Generator) -> list[Line]:
    lines: list[Line] = []
    for x, y in ((-0.62, 0.26), (0.64, 0.27), (0.60, 0.70), (-0.58, 0.72)):
        spot = np.array([[x - 0.018, y], [x + 0.018, y]]) + rng.normal(0, 0.015, 2)
        wire = np.array([spot[1], [x * 0.5 + rng.normal(0, 0.1), 0.86], [rng.normal(0, 0.1), 1.05]])
        lines += [(spot, 0.017, 1.0), (wire, 0.003, 0.6)]
    return lines

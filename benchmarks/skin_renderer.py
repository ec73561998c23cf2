"""Drawing synthetic skin: three pictures of a lesion, the colour of skin looked up or worked out band by band.

Ours (mm_assets/pigmentation/synthetic) beside a plain loop over the same physics: a lesion at a time, a wavelength at a
time, the camera's 69 wavelengths added up to a colour, the imager's bands one by one. Everything else - where melanin
and blood are, light, lenses, noise - is the same code with the same random numbers, so the pictures must agree; that is
asserted. CPU seconds of this process; writing of files is told apart, because both would do it alike.

    python -m benchmarks.skin_renderer [--quick] [--json FILE]
"""

import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reporting import Gate, finish, parse_options
from mm_assets.pigmentation.synthetic.captures import (
    Colorist,
    Spectrometer,
    clinical_picture,
    dermoscopy_picture,
    reflectance_cube,
)
from mm_assets.pigmentation.synthetic.cohort import PlannedRecord, plan_cohort
from mm_assets.pigmentation.synthetic.maps import draw_maps
from mm_assets.pigmentation.synthetic.optics import (
    HORNY_LAYER,
    WAVELENGTHS_NM,
    color_matching,
    exponents,
    reflectance,
    skin_color,
)

PATIENTS, QUICK_PATIENTS = 40, 3
ROUNDS = 3  # interleaved; the best of each way counts, the machine may be busy
RGB_PX, CUBE_PX = 160, 56  # as in the study
GATE = 3.0
# Of 255, of what rounding and the look-up table may change in a picture; and of reflectance.
PICTURE_TOLERANCE, CUBE_TOLERANCE = 2, 0.002


@dataclass(frozen=True, eq=False)
class Pictures:
    """The three captures of one record."""

    clinical: np.ndarray
    dermoscopy: np.ndarray
    cube: np.ndarray


def band_by_band(melanin: np.ndarray, blood: np.ndarray, wavelengths_nm: np.ndarray) -> np.ndarray:
    """As `optics.reflectance`, a wavelength at a time."""
    bands = []
    for per_melanin, per_blood, constant in zip(*exponents(wavelengths_nm), strict=True):
        below = np.exp(-(per_melanin * melanin + per_blood * blood + constant))
        bands.append(HORNY_LAYER + (1 - HORNY_LAYER) * below)
    return np.stack(bands).astype(np.float32)


def color_band_by_band(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """As `optics.skin_color`, a wavelength at a time."""
    wavelengths, weights = color_matching()
    color = np.zeros((3, *melanin.shape), dtype=np.float32)
    for wavelength, weight in zip(wavelengths, weights.astype(np.float32), strict=True):
        band = band_by_band(melanin, blood, np.array([wavelength]))[0]
        for channel in range(3):
            color[channel] += weight[channel] * band
    return np.maximum(color, 0)


def draw(record: PlannedRecord, color: Colorist, spectra: Spectrometer) -> Pictures:
    """All pictures of a record; the same record gives the same ones whatever the way."""
    maps = draw_maps(record.plan)
    clinical, dermoscopy, cube = (np.random.default_rng((*record.seed, number)) for number in range(3))
    return Pictures(
        clinical_picture(maps, clinical, RGB_PX, color),
        dermoscopy_picture(maps, dermoscopy, RGB_PX, color),
        reflectance_cube(maps, cube, CUBE_PX, np.array(WAVELENGTHS_NM), spectra),
    )


def worst_differences(ours: list[Pictures], loop: list[Pictures]) -> tuple[int, float]:
    """(of 255 in a picture, in reflectance of a cube)."""
    pictures, cubes = [0], [0.0]
    for a, b in zip(ours, loop, strict=True):
        for name in ("clinical", "dermoscopy"):
            one, other = getattr(a, name).astype(int), getattr(b, name).astype(int)
            pictures.append(int(np.abs(one - other).max()))
        cubes.append(float(np.abs(a.cube.astype(float) - b.cube.astype(float)).max()))
    return max(pictures), max(cubes)


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def write_files(pictures: list[Pictures]) -> int:
    """Into memory; bytes."""
    size = 0
    for one in pictures:
        for picture in (one.clinical, one.dermoscopy):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="JPEG", quality=95)
            size += buffer.tell()
        buffer = io.BytesIO()
        np.savez(buffer, cube=one.cube, wavelengths_nm=np.array(WAVELENGTHS_NM))
        size += buffer.tell()
    return size


def measure(patients: int) -> dict[str, Any]:
    records = plan_cohort(patients, trapped=0, seed=0)
    draw(records[0], skin_color, reflectance)  # tables are computed once a process
    ours_s, loop_s = [], []
    for _ in range(ROUNDS):
        seconds, ours = cpu_seconds(lambda: [draw(record, skin_color, reflectance) for record in records])
        ours_s.append(seconds)
        seconds, loop = cpu_seconds(lambda: [draw(record, color_band_by_band, band_by_band) for record in records])
        loop_s.append(seconds)
    picture, cube = worst_differences(ours, loop)
    if picture > PICTURE_TOLERANCE or cube > CUBE_TOLERANCE:
        raise AssertionError(f"the two ways draw different skin: {picture} of 255, {cube:.4f} of reflectance")
    writing, size = cpu_seconds(lambda: write_files(ours))
    return {
        "records": len(records),
        "cpu_count": os.cpu_count(),
        "ours_ms_per_record": round(1e3 * min(ours_s) / len(records), 2),
        "loop_ms_per_record": round(1e3 * min(loop_s) / len(records), 2),
        "files_ms_per_record": round(1e3 * writing / len(records), 2),
        "file_kb_per_record": round(size / len(records) / 1e3, 1),
        "ratio": round(min(loop_s) / min(ours_s), 2),
        "worst_difference_of_255": picture,
        "worst_difference_of_reflectance": round(cube, 5),
    }


def main() -> int:
    options = parse_options(__doc__)
    numbers = measure(QUICK_PATIENTS if options.quick else PATIENTS)
    ours = numbers["ours_ms_per_record"]
    return finish(
        options,
        numbers=numbers,
        columns=("step", "CPU ms a record", "times ours"),
        rows=[
            (name, numbers[key], numbers[key] / ours)
            for name, key in (
                ("ours: maps and three pictures, colour looked up", "ours_ms_per_record"),
                ("the same physics, a wavelength at a time", "loop_ms_per_record"),
                ("two JPEG and one .npz, alike for both", "files_ms_per_record"),
            )
        ],
        gates=[Gate("drawing skin, a loop over bands over ours", numbers["ratio"], "at least", GATE)],
    )


if __name__ == "__main__":
    sys.exit(main())

"""Who has which lesions, seen when and with which instruments, before anything is drawn.

Belongs here: patients, their tones, lesions, visits, instruments that were not at hand. Does not belong here: how a
lesion looks (maps) and what is wrong with a file or a row (traps).
"""

from dataclasses import dataclass

import numpy as np

from mm_assets.pigmentation.schema import MODALITIES, TONE_BOUNDS, TONES, record_id
from mm_assets.pigmentation.skin_tone import tone_of
from mm_assets.pigmentation.synthetic.maps import LesionPlan
from mm_assets.pigmentation.synthetic.optics import melanin_of_ita, skin_ita

# Angles in degrees of the lightest and the darkest skin that is drawn.
_LIGHTEST, _DARKEST = 60.5, -57.0
_LESIONS = ((1, 0.25), (2, 0.5), (3, 0.25))  # per patient, and how often
SECOND_VISIT_SHARE = 0.12
# Which instruments were not at hand, as in a clinic; the same for everybody.
ABSENT_SHARES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("dermoscopy",), 0.05), (("multispectral",), 0.05), (("dermoscopy", "multispectral"), 0.02),
)  # fmt: skip
# Words that open each random stream.
_PATIENTS, _SHAPES, _CAPTURES = range(3)


@dataclass(frozen=True)
class PlannedRecord:
    """One lesion at one visit, still to be drawn. seed: of its captures; trapped: of a patient set aside for a trap."""

    patient_id: str
    lesion_id: str
    visit: int
    background_ita: float
    tone: str
    plan: LesionPlan
    modalities: tuple[str, ...]
    seed: tuple[int, ...]
    trapped: bool = False

    @property
    def record_id(self) -> str:
        """As `schema.record_id`."""
        return record_id(self.lesion_id, self.visit)

    def capture_id(self, modality: str) -> str:
        """Unique among all captures."""
        return f"{self.lesion_id}-V{self.visit}-{modality[0].upper()}"


def plan_cohort(patients: int, trapped: int, seed: int) -> list[PlannedRecord]:
    """All records of `patients` patients and, after them, of `trapped` more with one complete record each.

    The six tones are equally frequent among patients, up to one; angles are uniform within a tone.
    """
    rng = np.random.default_rng([seed, _PATIENTS])
    bounds = [_LIGHTEST, *(bound for _, bound in TONE_BOUNDS), _DARKEST]
    total = patients + trapped
    # Each run of six patients holds every tone.
    tones = np.concatenate([rng.permutation(len(TONES)) for _ in range(total // len(TONES) + 1)])[:total]
    # Off the bounds by a little, so that single precision never decides on a class.
    place = rng.uniform(0.01, 0.99, total)
    angles = np.array([bounds[tone + 1] + p * (bounds[tone] - bounds[tone + 1]) for tone, p in zip(tones, place)])
    melanin = melanin_of_ita(angles)
    angles = skin_ita(melanin)
    counts = rng.choice([n for n, _ in _LESIONS], total, p=[share for _, share in _LESIONS])
    records = []
    lesion_number = 0
    for patient in range(total):
        is_trap = patient >= patients
        for lesion in range(1 if is_trap else int(counts[patient])):
            lesion_number += 1
            seen_twice = rng.random() < SECOND_VISIT_SHARE
            growth, fading = rng.uniform(0.92, 1.15), rng.uniform(0.55, 1.0)
            for visit in (1, 2) if seen_twice and not is_trap else (1,):
                absent = _absent(rng)
                plan = LesionPlan(
                    seed=(seed, _SHAPES, lesion_number),
                    background_melanin=float(melanin[patient]),
                    growth=1.0 if visit == 1 else float(growth),
                    fading=1.0 if visit == 1 else float(fading),
                )
                ita = float(np.float32(angles[patient]))
                records.append(
                    PlannedRecord(
                        patient_id=f"P{patient + 1:05d}",
                        lesion_id=f"P{patient + 1:05d}-L{lesion + 1}",
                        visit=visit,
                        background_ita=ita,
                        tone=tone_of(ita),
                        plan=plan,
                        modalities=MODALITIES if is_trap else tuple(m for m in MODALITIES if m not in absent),
                        seed=(seed, _CAPTURES, lesion_number, visit),
                        trapped=is_trap,
                    )
                )
    return records


def _absent(rng: np.random.Generator) -> tuple[str, ...]:
    chance = rng.random()
    for modalities, share in ABSENT_SHARES:
        chance -= share
        if chance < 0:
            return modalities
    return ()

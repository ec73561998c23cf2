"""Planted predictions of both splits: how well each variant sees each subset is known."""

import numpy as np

from mm_assets.pigmentation.predictions import EvaluationInputs, SplitScores
from mm_assets.pigmentation.schema import MODALITIES, TONES, VARIANTS, subset_name, subsets

# Spread of the error by variant and number of pictures.
NOISE = {"fused": (0.05, 0.03, 0.02), "pooled": (0.2, 0.06, 0.02), "concat": (0.07, 0.04, 0.03)}
SUBSETS = [subset_name(chosen) for chosen in subsets(MODALITIES)]


def split_of(n: int, seed: int, first_patient: int, seeds: tuple[int, ...] = (0,), spread: bool = True) -> SplitScores:
    """``n`` records of about n / 2 patients; an eighth lack dermoscopy, another eighth the cube."""
    rng = np.random.default_rng(seed)
    targets = rng.random(n).round(3)
    here = {"clinical": np.ones(n, bool), "dermoscopy": np.arange(n) % 8 != 3, "multispectral": np.arange(n) % 8 != 5}
    scores, sigmas = {}, {}
    for variant in VARIANTS:
        for s in seeds:
            for name in SUBSETS:
                chosen = name.split("+")
                wide = NOISE[variant][len(chosen) - 1] * (1 + 0.1 * s)
                sigma = wide * rng.uniform(0.5, 1.5, n)
                use = np.all([here[modality] for modality in chosen], axis=0)
                values = np.clip(targets + sigma * rng.normal(size=n), 0, 1)
                scores[variant, s, name] = np.where(use, values, np.nan)
                if spread and variant != "pooled":
                    sigmas[variant, s, name] = np.where(use, sigma, np.nan)
    return SplitScores(
        record_ids=[f"{first_patient + k}@1" for k in range(n)],
        patients=np.array([f"p{first_patient + k // 2}" for k in range(n)]),
        targets=targets,
        tones=np.array(TONES)[np.arange(n) % len(TONES)],
        label_sources=np.array(["synthetic"] * n),
        scores=scores,
        sigmas=sigmas,
        baselines={
            "predict_mean": np.full(n, 0.5),
            "delta_melanin": np.clip(targets + 0.12 * rng.normal(size=n), 0, 1),
            "lesion_lightness": rng.random(n),
        },
    )


def example(
    seeds: tuple[int, ...] = (0,), n_validate: int = 240, n_test: int = 720, spread: bool = True
) -> EvaluationInputs:
    """Validate and test that share no patient."""
    return EvaluationInputs(
        split_of(n_validate, 1, 10_000, seeds, spread), split_of(n_test, 2, 20_000, seeds, spread), MODALITIES
    )

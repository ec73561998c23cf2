"""The planted law and the accuracies it allows."""

import numpy as np
import pytest

from mm_assets.cloud_vision.ceilings import VIEWS, accuracy_ceilings, log_posterior
from mm_assets.cloud_vision.schema import CLASSES, FEATURES, PATTERNS
from mm_assets.cloud_vision.synthetic.law import DESIGNS, draw_features, draw_patterns, planted_law

COVID, NORMAL, VIRAL = range(3)


@pytest.mark.parametrize("design", DESIGNS)
def test_draws_follow_the_law(design: str) -> None:
    law = planted_law(design)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(CLASSES)), 20_000)
    features, patterns = draw_features(law, labels, rng), draw_patterns(law, labels, rng)
    for label in range(len(CLASSES)):
        mine = labels == label
        assert np.allclose(features[mine].mean(axis=0), law.means[label], atol=0.06)
        assert np.allclose(np.cov(features[mine].T), law.covariance, atol=0.12)
        shares = np.bincount(patterns[mine], minlength=len(PATTERNS)) / mine.sum()
        assert np.allclose(shares, law.patterns[label], atol=0.015)


def test_separable_has_the_patterns_of_the_original_design() -> None:
    law = planted_law("separable")
    assert (law.means[COVID, :3] > 0).all() and (law.means[COVID, 3:] < 0).all()
    assert (law.means[NORMAL, :3] == 0).all() and (law.means[NORMAL, 3:7] > 0).all()
    assert (law.means[VIRAL, :3] < 0).all() and (law.means[VIRAL, 7:] > 0).all()
    ceilings = accuracy_ceilings(law, samples=20_000)
    assert min(ceilings[view] for view in ("org2", "org3", "image_only", "joint")) > 0.95


def test_complementary_needs_both_parties() -> None:
    law = planted_law()
    assert not law.means[NORMAL, :5].any() and not law.means[VIRAL, :5].any()  # the table: COVID-19 or not
    assert np.abs(law.patterns[COVID] - law.patterns[VIRAL]).max() < 0.05  # the film: Normal or not
    ceilings = accuracy_ceilings(law, samples=50_000)
    assert ceilings["joint"] > 0.85
    for alone in ("org2", "org3", "image_only"):
        assert ceilings["joint"] - ceilings[alone] > 0.20
    assert ceilings["image_only"] <= ceilings["org3"] + 0.005
    assert ceilings["tables_only"] < ceilings["joint"] - 0.10
    assert ceilings["joint"] > ceilings["org2"] > ceilings["chance"] == pytest.approx(1 / 3)
    assert set(ceilings) == {*VIEWS, "shifted_joint", "chance", "standard_error"}


def test_ceilings_fall_with_difficulty() -> None:
    joint = [accuracy_ceilings(planted_law(difficulty=d), samples=30_000)["joint"] for d in (0.0, 0.5, 1.0)]
    contrast = [planted_law(difficulty=d).contrast for d in (0.0, 0.5, 1.0)]
    assert joint == sorted(joint, reverse=True) and joint[0] > joint[-1] + 0.05
    assert contrast == sorted(contrast, reverse=True)


def test_the_ceiling_of_a_film_is_that_of_its_table_of_patterns() -> None:
    law = planted_law()
    by_hand = (law.patterns * law.prior[:, None]).max(axis=0).sum()
    assert accuracy_ceilings(law, samples=100_000)["image_only"] == pytest.approx(by_hand, abs=0.006)


def test_the_posterior_is_the_best_rule_that_a_fitted_one_reaches() -> None:
    from sklearn.linear_model import LogisticRegression

    law = planted_law()
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 20_000)
    features, patterns = draw_features(law, labels, rng), draw_patterns(law, labels, rng)
    best = (log_posterior(law, features, patterns, FEATURES, film=True).argmax(axis=1) == labels).mean()
    columns = np.hstack([features, np.eye(3)[patterns]])
    fitted = LogisticRegression(max_iter=300).fit(columns[:10_000], labels[:10_000])
    assert fitted.score(columns[10_000:], labels[10_000:]) == pytest.approx(best, abs=0.012)


@pytest.mark.parametrize(("design", "difficulty"), [("plain", 0.5), ("complementary", 1.2), ("complementary", -0.1)])
def test_impossible_laws_are_refused(design: str, difficulty: float) -> None:
    with pytest.raises(ValueError, match=r"design|difficulty"):
        planted_law(design, difficulty)  # type: ignore[arg-type]

"""Findings, labels, words and vitals: rates, noise and where the signal lies."""

import numpy as np
import pandas as pd
import pytest

from mm_assets.mimic.schema import LABELS, NO_FINDING
from mm_assets.mimic.synthetic.complaints import plant_leaks, symptom_table, write_complaints
from mm_assets.mimic.synthetic.corpus import leakage_corpus
from mm_assets.mimic.synthetic.latent import draw_findings, observed_labels, second_labeler
from mm_assets.mimic.synthetic.prevalence import DRAWN_LABELS, PUBLISHED_RATES, planted_rates
from mm_assets.mimic.synthetic.vitals import TRIAGE_MISSING, as_charted, later_vitals, triage_vitals


def _findings(n: int, floor: float = 0.0, seed: int = 0) -> pd.DataFrame:
    return draw_findings(np.arange(n), planted_rates(floor, "train"), np.random.default_rng(seed))


def test_observed_rates_are_the_published_ones() -> None:
    rates = planted_rates(0.0, "train")
    observed = observed_labels(_findings(40_000), rates, 0.02, np.random.default_rng(1))
    for label in DRAWN_LABELS:
        published = PUBLISHED_RATES[label]
        assert (observed[label] == 1).mean() == pytest.approx(published.positive, abs=0.012), label
        assert (observed[label] == 0).mean() == pytest.approx(published.negative, abs=0.012), label
        assert (observed[label] == -1).mean() == pytest.approx(published.uncertain, abs=0.008), label
    assert (observed[NO_FINDING] == 1).mean() == pytest.approx(PUBLISHED_RATES[NO_FINDING].positive, abs=0.05)
    assert 0.005 < observed.isna().all(axis=1).mean() < 0.02


def test_floor_raises_rare_labels_only() -> None:
    rates = planted_rates(0.06, "train")
    assert rates["Fracture"].positive == 0.06
    assert rates["Atelectasis"].positive == PUBLISHED_RATES["Atelectasis"].positive
    assert planted_rates(0.06, "test")["Fracture"].positive > 0.06


def test_findings_keep_company() -> None:
    findings = _findings(20_000)
    assert findings.loc[findings["Edema"], "Cardiomegaly"].mean() > 2 * findings["Cardiomegaly"].mean()
    assert not (findings[NO_FINDING] & findings.drop(columns=[NO_FINDING, "Support Devices"]).any(axis=1)).any()


def test_label_noise_changes_about_its_share() -> None:
    findings, rates = _findings(30_000), planted_rates(0.0, "train")
    observed = observed_labels(findings, rates, 0.1, np.random.default_rng(2))
    missed = (observed["Pleural Effusion"] < 1) | observed["Pleural Effusion"].isna()
    certain = observed["Pleural Effusion"] != -1
    assert missed[findings["Pleural Effusion"] & certain].mean() == pytest.approx(0.1, abs=0.03)


def test_second_labeler_never_doubts_no_finding() -> None:
    observed = observed_labels(_findings(3_000), planted_rates(0.0, "train"), 0.0, np.random.default_rng(3))
    negbio = second_labeler(observed, np.random.default_rng(4))
    assert set(negbio[NO_FINDING].dropna()) == {1.0}
    assert (negbio.fillna(9) != observed.fillna(9)).to_numpy().sum() > 0


def test_vitals_after_the_film_move_further_than_those_before() -> None:
    rng = np.random.default_rng(5)
    findings = _findings(6_000, floor=0.1)
    arrival = triage_vitals(findings, rng)
    after = later_vitals(arrival, findings, np.ones(len(findings), bool), rng)
    before = later_vitals(arrival, findings, np.zeros(len(findings), bool), rng)
    edema = findings["Edema"]

    def gap(values: pd.DataFrame) -> float:
        return values.loc[edema, "resprate"].mean() - values.loc[~edema, "resprate"].mean()

    assert gap(after) > 3 * gap(before) > 0


def test_triage_gaps_have_the_published_shares() -> None:
    rng = np.random.default_rng(6)
    vitals = triage_vitals(_findings(20_000), rng)
    charted = as_charted(vitals, TRIAGE_MISSING, np.zeros(len(vitals), bool), rng)
    for vital in vitals:
        assert charted[vital].isna().mean() == pytest.approx(TRIAGE_MISSING[vital], abs=0.01)
    assert (charted["heartrate"] == 999).any()


def test_twin_is_the_complaint_without_the_phrase() -> None:
    rng = np.random.default_rng(7)
    findings = _findings(2_000, floor=0.06)
    items = write_complaints(symptom_table(findings, rng), rng)
    for case, clean, (_, row) in zip(plant_leaks(items, findings, 0.5, rng), items, findings.iterrows(), strict=True):
        assert case.clean == ", ".join(clean)
        assert len(case.text) <= 255
        if case.phrase is None:
            assert case.text == case.clean
        else:
            assert case.text.replace(case.phrase, "", 1) != case.text
            assert case.independent or row[case.label]


def test_corpus_is_deterministic_and_independent_plants_say_nothing() -> None:
    corpus = leakage_corpus(4_000, seed=1)
    pd.testing.assert_frame_equal(corpus, leakage_corpus(4_000, seed=1))
    assert not corpus.equals(leakage_corpus(4_000, seed=2))
    independent = corpus["planted_independent"]
    assert 0.1 < independent.mean() < 0.2
    for label in LABELS:
        assert corpus.loc[independent, label].mean() == pytest.approx(corpus[label].mean(), abs=0.07), label
    planted = corpus["planted_terms"].str.len() > 0
    assert (corpus.loc[~planted, "complaint_leaky"] == corpus.loc[~planted, "complaint_clean"]).all()

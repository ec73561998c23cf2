import json

import numpy as np
import pandas as pd
import pytest

from mm_assets.mimic.leakage import Redaction, redact
from mm_assets.mimic.leakage_audit import Audit, audit, probe_real, real_probe_table
from mm_assets.mimic.schema import LABELS
from mm_assets.mimic.synthetic.corpus import leakage_corpus


@pytest.fixture(scope="module")
def corpus() -> pd.DataFrame:
    return leakage_corpus(900, seed=3)


@pytest.fixture(scope="module")
def result(corpus: pd.DataFrame) -> Audit:
    return audit(corpus, redact, replicates=100)


def test_the_filter_passes_its_own_audit(result: Audit) -> None:
    assert result.recall == 1.0 and result.missed == ()
    assert result.clean_kept > 0.99 and result.restored > 0.99
    assert abs(result.headline()["flag_auroc_worst"] - 0.5) < 0.1
    assert result.probes and all(probe.within_twin for probe in result.probes)


def test_no_filter_at_all_is_found_out(corpus: pd.DataFrame) -> None:
    nothing = audit(corpus, lambda text: Redaction(text, 0, ()), replicates=20)
    assert nothing.recall == 0.0
    assert all(probe.after == probe.before for probe in nothing.probes)
    assert nothing.headline()["probe_excess"] > 0
    assert all(flag.auroc == 0.5 for flag in nothing.flags)


def test_a_filter_that_knows_the_label_is_found_out_by_its_flag(corpus: pd.DataFrame) -> None:
    positive = dict(zip(corpus["complaint_leaky"], corpus["Edema"], strict=True))

    def conditional(text: str) -> Redaction:
        honest = redact(text)
        return honest if positive.get(text) else Redaction(text, 0, ())

    flags = {row.label: row for row in audit(corpus, conditional, replicates=50).flags}
    assert flags["Edema"].auroc > 0.55 and flags["Edema"].low > 0.5


def test_audit_is_plain_and_deterministic(corpus: pd.DataFrame, result: Audit) -> None:
    assert audit(corpus, redact, replicates=100) == result
    as_read = json.loads(json.dumps(result.as_dict()))
    assert as_read["probes"][0]["within_twin"] is True
    table = result.probes_table()
    assert table["label"].to_pylist() == [probe.label for probe in result.probes]
    assert set(table["label"].to_pylist()).isdisjoint(result.not_probed)
    assert all(probe.label in result.markdown() for probe in result.probes)


def test_probe_on_actual_texts_masks_uncertain_and_falls_after_filtering(corpus: pd.DataFrame) -> None:
    labels = corpus[list(LABELS)].to_numpy(dtype=float)
    edema = LABELS.index("Edema")
    texts = [f"{text}, CHF" if y else text for text, y in zip(corpus["complaint_clean"], labels[:, edema], strict=True)]
    labels[::7, edema] = -1
    rows = probe_real(texts, [redact(text).text for text in texts], labels, np.arange(len(texts)) // 2)
    found = {row.label: row for row in rows}
    assert found["Edema"].before > 0.99 > 0.85 > found["Edema"].after
    assert real_probe_table(rows).num_rows == len(rows)


def test_labels_too_rare_to_probe_are_named(corpus: pd.DataFrame) -> None:
    small = corpus.assign(**{"Pleural Other": 0})
    assert "Pleural Other" in audit(small, redact, replicates=20).not_probed

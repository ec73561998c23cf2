"""HTML of the page: text from outside is escaped, numbers are honest."""

import re

import numpy as np
import pytest

from mm_assets.mimic.case import CaseWarning, ChestProvenance, Contribution, Explanation, Finding, Passage, Prediction
from mm_assets.mimic.schema import LABELS
from tests.ui.fakes import film_bytes, provenance
from ui.pages.components import chest, film, findings, origin, reasons

EVIL = "<script>alert(1)</script>"


def finding(label: str, probability: float, threshold: float = 0.5) -> Finding:
    return Finding(
        label=label,
        probability=probability,
        low=max(0, probability - 0.1),
        high=min(1, probability + 0.1),
        threshold=threshold,
        positive=probability >= threshold,
    )


def footer(known: ChestProvenance, interval: str) -> str:
    answer = Prediction(findings=[], interval=interval, contributions=[], passages=[], warnings=[], provenance=known)
    return origin.footer(known, chest.quality(answer))


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "&lt;1 %"), (0.004, "&lt;1 %"), (0.123, "12 %"), (0.996, "&gt;99 %"), (1.0, "&gt;99 %")],
)
def test_no_probability_is_shown_as_certain(share: float, shown: str) -> None:
    assert findings.percent(share) == shown


def test_findings_above_their_own_threshold_come_first() -> None:
    table = findings.findings_table(
        [finding("Edema", 0.6, 0.7), finding("Fracture", 0.2, 0.1), finding("Pneumonia", 0.9)],
        "95 % interval",
    )
    assert re.findall(r"</span>(\w+)</th>", table) == ["Pneumonia", "Fracture", "Edema"]
    assert "2 of 3 labels" in table
    assert table.count("▲</span>") == 2
    assert "left:70.0%" in table  # the threshold tick


def test_text_from_outside_is_escaped_everywhere() -> None:
    known = provenance(EVIL).model_copy(update={"run_id": EVIL, "disclaimer": EVIL})
    part = Contribution(modality="text", change={EVIL: 0.1})
    shown = [
        findings.findings_table([finding(EVIL, 0.4)], EVIL),
        origin.banner("mimic", known, EVIL),
        chest.notices([CaseWarning(code="out_of_domain", message=EVIL)]),
        reasons.passages_list([Passage(id=EVIL, text=EVIL, citation=EVIL, score=0.5)]),
        reasons.contributions_chart([part, part], EVIL),
        footer(known, EVIL),
    ]
    for html in shown:
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_serious_warnings_come_first() -> None:
    html = chest.notices(
        [
            CaseWarning(code="missing_modality", message="first"),
            CaseWarning(code="out_of_domain", message="second"),
        ]
    )
    assert html.index("second") < html.index("first")


def test_squashed_film_is_shown_in_its_own_proportions_and_other_modes_as_stored() -> None:
    maps = np.zeros((len(LABELS), 4, 4), dtype=np.float32)
    for mode, ratio in (("squash", "0.5000"), ("letterbox", "1.0000")):
        shown = Explanation(film_bytes(), 1000, 2000, mode, LABELS, maps, 0.5)
        html = film.heat_map(shown, "Edema", 40)
        assert f"aspect-ratio:{ratio}" in html
        assert "opacity:0.40" in html
        assert "Influence on Edema" in html
        assert html.count("data:image/") == 2 and "http" not in html


def test_footer_without_measured_quality_says_so() -> None:
    unknown = provenance().model_copy(update={"test_auroc": None, "synthetic": False})
    html = footer(unknown, "interval")
    assert "not measured" in html
    assert "patient data" in html

"""HTML of a split answer: text is escaped, and the truth is told where it is known and nowhere else."""

from typing import Any

import numpy as np
import pytest

from mm_assets.cloud_vision.case import CaseWarning, SplitCase, SplitExplanation, SplitPrediction, SplitProvenance
from ui.pages.components import origin, split_view


def answer(**changed: Any) -> SplitPrediction:
    shares = {"<b>first</b>": 0.7, "second": 0.2, "third": 0.1}
    given: dict[str, Any] = {
        "label": "<b>first</b>", "probabilities": shares, "alone": {"org2": shares, "org3": shares},
        "held_out": {"joint": 0.8, "org2": 0.5, "org3": 0.6}, "missing": [],
        "crossed": {"org3 -> org2": 1232, "org2 -> org3": 40}, "leak": "<i>all</i> of it", "in_lesion": None,
        "lesion_share": None, "warnings": [], "model_version": "v",
        "provenance": SplitProvenance(model_version="v", run_id=None, data_version="d", synthetic=True),
    }  # fmt: skip
    return SplitPrediction(**{**given, **changed})


def explanation(cam: float = 1.0, mask: np.ndarray | None = None) -> SplitExplanation:
    return SplitExplanation(b"jpeg", 200, 100, "<b>first</b>", np.full((2, 2), cam, np.float32), mask)


def test_nothing_from_outside_is_run() -> None:
    film = split_view.film(explanation(), answer(), SplitCase(b"x"), 50)
    for html in (
        split_view.joint(answer(), "<b>x</b>"),
        split_view.alone(answer(), "org2"),
        split_view.leak(answer()),
        film,
    ):
        assert "<b>" not in html and "<i>all" not in html and ("&lt;b&gt;" in html or "&lt;i&gt;" in html)


def test_the_true_class_stands_beside_the_answer_where_it_is_known() -> None:
    assert "true class" not in split_view.joint(answer(), None)
    assert "is the true class" in split_view.joint(answer(), "<b>first</b>")
    wrong = split_view.joint(answer(), "second")
    assert "the true class is second" in wrong and "wrong" in wrong


MASK = np.eye(8, dtype=bool)


@pytest.mark.parametrize(
    ("case", "shown", "found", "told"),
    [
        (
            SplitCase(b"x", mask=b"m", label=0),
            explanation(mask=MASK),
            0.4,
            "<strong>40%</strong> of the map lies inside",
        ),
        (SplitCase(b"x", mask=b"m", label=0), explanation(0, MASK), None, "Nothing on the film spoke for"),
        (SplitCase(b"x", label=1), explanation(), None, "There is no lesion on this film."),
        (SplitCase(b"x"), explanation(0), None, "spoke for &lt;b&gt;first&lt;/b&gt;. Where a lesion is"),
    ],
)
def test_the_map_is_held_against_the_lesion_where_there_is_one(
    case: SplitCase, shown: SplitExplanation, found: float | None, told: str
) -> None:
    html = split_view.film(shown, answer(in_lesion=found, lesion_share=0.125), case, 60)
    assert told in html and ('class="plate"' in html) == (shown.mask is not None)
    assert "aspect-ratio:2.0000" in html and "opacity:0.60" in html


def test_bytes_that_crossed_stand_beside_those_that_did_not() -> None:
    html = split_view.crossed(answer(), 61_753)
    assert html.index("1,232 bytes") < html.index("40 bytes") < html.index("61,753 bytes")


def test_what_is_missing_is_named_after_the_warnings() -> None:
    warned = answer(
        missing=["f1", "f7"],
        warnings=[
            CaseWarning(code="uncommon_value", message="f0"),
            CaseWarning(code="synthetic_model", message="real"),
        ],
    )
    html = split_view.notices(warned)
    assert html.index("Trained on synthetic films") < html.index("Uncommon value") < html.index("No value of f1, f7")
    assert "mm-notice" not in split_view.notices(answer()).replace("mm-notices", "")
    assert split_view.quality(answer()) == {"Quality": "not measured"}


def test_real_films_with_made_up_tables_are_not_called_patient_data() -> None:
    known = answer().provenance
    assert "trained on <strong>synthetic data</strong>" in origin.banner("cloud_vision", known, None)
    real = known.model_copy(update={"synthetic": False})
    for html in (origin.banner("cloud_vision", real, None), origin.footer(real, {})):
        assert "real X-rays, made-up tables" in html and "patient data" not in html

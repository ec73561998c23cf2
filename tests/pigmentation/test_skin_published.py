"""What leaves the store: rendered photographs only, whatever an artifact is marked as."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from mm_assets.pigmentation import published, train_job
from resources.artifacts import ArtifactStore

LESIONS = {
    "record_id": ["a@1", "b@1", "c@1", "d@1"],
    "patient_id": ["a", "b", "c", "d"],
    "clinical": [b"real", b"rendered 1", b"unlabelled", b"rendered 2"],
    "dermoscopy": pa.nulls(4, pa.binary()),
    "multispectral": pa.nulls(4, pa.binary()),
    "tone": ["tan", "dark", "dark", "light"],
    "score": [0.5, 0.1, None, 0.9],
    "severity": ["Moderate", "Mild", None, "Severe"],
    "label_source": ["rater", "synthetic", None, "synthetic"],
}
SPLIT = {"record_id": ["a@1", "b@1", "d@1"], "split": ["test", "validate", "test"]}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """A set that is marked synthetic and holds a real photograph, as an earlier manifest could."""
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    upstream: dict[str, str] = {}
    for asset, file, table in (
        ("lesions", "lesions", pa.table(LESIONS)), ("split", "split", pa.table(SPLIT)), ("model", None, None),
        ("evaluation", None, None),
    ):  # fmt: skip
        with store.draft("pigmentation", asset) as draft:
            if table is not None:
                draft.write_table(f"{file}.parquet", table)
            draft.write_json("captures.json", {"multispectral": "cube", "cube_px": 8, "wavelengths_nm": None})
            draft.write_json("evaluation.json", {"released_seed": 0})
            draft.write_text("card.md", "card")
            draft.publish(upstream=dict(upstream), synthetic=True, run_id=None)
        upstream[f"pigmentation/{asset}"] = store.version("pigmentation", asset)
    return store


@pytest.mark.parametrize(("count", "shown"), [(12, [b"rendered 1", b"rendered 2"]), (1, [b"rendered 1"])])
def test_only_rendered_photographs_are_shown(store: ArtifactStore, count: int, shown: list[bytes]) -> None:
    found = published.some_photographs(store, store.current("pigmentation", "lesions"), count)
    assert [picture for picture, _ in found] == shown and found[0][1] == "dark: 0.10 Mild"


def test_only_rendered_photographs_are_released(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "trained_folder", lambda *_: tmp_path)
    inputs = published.release_inputs(store)
    assert inputs.synthetic and [row["record_id"] for row in inputs.examples] == ["d@1"]


def test_attention_is_not_tried_where_no_test_record_has_every_image(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the evaluation that says what is missing."""
    model = SimpleNamespace(config=SimpleNamespace(head="regression"))
    spec = SimpleNamespace(names=("clinical", "dermoscopy"), image_size=8)
    monkeypatch.setattr(published, "trained_folder", lambda *_: tmp_path)
    monkeypatch.setattr(train_job, "load_trained", lambda _: (model, spec))
    assert published.attention_curves(store, 0, records=4) is None

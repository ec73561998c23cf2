import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from mm_assets.pigmentation import datasets
from mm_assets.pigmentation.augmentation import Augmenting, augmented, turned, with_gain
from mm_assets.pigmentation.datasets import (
    UnlabelledRecords,
    input_spec,
    open_lesion_data,
    pack_pixels,
    split_records,
    stored_modalities,
)
from mm_assets.pigmentation.inputs import InputSpec, rgb_spec, to_tensor
from mm_assets.records.color_images import decode_color
from tests.pigmentation.skin_data import BANDS, PX, lesion_rows, write_files

SIZE = 16
VERSIONS = {"pigmentation/lesions": "a", "pigmentation/split": "b"}


@pytest.fixture(scope="module")
def rows():
    return lesion_rows(40)


@pytest.fixture(scope="module")
def files(rows, tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"), rows)


@pytest.fixture(scope="module")
def data(files, tmp_path_factory):
    packed = pack_pixels(files, SIZE, tmp_path_factory.mktemp("pixels"), photographs="absorbance", versions=VERSIONS)
    records = split_records(files)
    return open_lesion_data(records, packed, input_spec(records, packed))


def test_a_batch_holds_the_tensors_an_upload_would_become(rows, data):
    positions = np.array([3, 0, 11])
    batch = data.batch(positions)
    for i, position in enumerate(positions):
        row = next(r for r in rows if r["record_id"] == data.records.record_id[position])
        photo = decode_color(row["clinical"]).pixels
        assert torch.equal(batch["clinical"][i], to_tensor(data.spec.modality("clinical"), photo, SIZE))
        assert batch["targets"][i, 0] == np.float32(row["score"])
        present = [row[name] is not None for name in data.spec.names]
        assert batch["present"][i].tolist() == present
        if row["multispectral"] is not None:
            cube = np.frombuffer(row["multispectral"], np.float16).reshape(PX, PX, len(BANDS))
            spec = data.spec.modality("multispectral")
            assert torch.equal(batch["multispectral"][i], to_tensor(spec, cube, SIZE))
    assert batch["targets"].shape == batch["target_mask"].shape == (3, 1) and batch["target_mask"].all()


def test_statistics_of_the_cube_are_the_training_splits(data):
    spec = data.spec.modality("multispectral")
    assert spec.kind == "cube" and spec.wavelengths_nm == BANDS and spec.channels == 4
    train = data.positions("train")
    seen = data.having(["multispectral"], train)
    assert 0 < len(seen) < len(train)
    values = data.batch(seen)["multispectral"]
    assert values.mean((0, 2, 3)).abs().max() < 1e-3 and (values.std((0, 2, 3)) - 1).abs().max() < 1e-2


def test_splits_do_not_overlap_and_keep_the_tables_order(data, files):
    parts = [data.positions(name) for name in ("train", "validate", "test")]
    assert sorted(np.concatenate(parts)) == list(range(len(data.records)))
    order = pq.read_table(files.lesions)["record_id"].to_pylist()
    assert [order.index(name) for name in data.records.record_id] == sorted(data.records.row)


def test_packing_in_processes_gives_the_same_bytes_and_is_done_once(files, tmp_path, monkeypatch):
    alone = pack_pixels(files, SIZE, tmp_path / "a", photographs="absorbance", versions=VERSIONS)
    together = pack_pixels(files, SIZE, tmp_path / "b", photographs="absorbance", versions=VERSIONS, workers=2)
    for name in ("clinical", "dermoscopy", "multispectral"):
        assert (alone.folder / f"{name}.npy").read_bytes() == (together.folder / f"{name}.npy").read_bytes()
    monkeypatch.setattr(datasets, "_pack", lambda *_: pytest.fail("packed again"))
    assert pack_pixels(files, SIZE, tmp_path / "a", photographs="absorbance", versions=VERSIONS) == alone
    # Another split of the same lesions needs no other pixels; other lesions do.
    assert (
        pack_pixels(
            files, SIZE, tmp_path / "a", photographs="absorbance", versions={**VERSIONS, "pigmentation/split": "c"}
        )
        == alone
    )
    with pytest.raises(pytest.fail.Exception):
        pack_pixels(
            files, SIZE, tmp_path / "a", photographs="absorbance", versions={**VERSIONS, "pigmentation/lesions": "c"}
        )


def test_a_killed_packing_leaves_nothing_that_is_taken_for_done(files, tmp_path, monkeypatch):
    real = datasets.prepared
    monkeypatch.setattr(datasets, "prepared", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pack_pixels(files, SIZE, tmp_path, photographs="absorbance", versions=VERSIONS)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(datasets, "prepared", real)
    packed = pack_pixels(files, SIZE, tmp_path, photographs="absorbance", versions=VERSIONS)
    (packed.folder / datasets.PACKED).unlink()  # as a machine that lost power would leave it
    (packed.folder / "clinical.npy").write_bytes(b"")
    again = pack_pixels(files, SIZE, tmp_path, photographs="absorbance", versions=VERSIONS)
    assert again.pixels("clinical").any()


def test_records_without_a_label_are_refused_with_their_number(rows, tmp_path):
    files = write_files(tmp_path, rows)
    some = [{**row, "score": None, "label_source": None} if i in (1, 30) else row for i, row in enumerate(rows)]
    unlabelled = write_files(tmp_path / "some", some)
    with pytest.raises(UnlabelledRecords, match="2 of 40"):
        split_records(replace(files, lesions=unlabelled.lesions))
    # Out of the split they do no harm.
    assert len(split_records(unlabelled)) == 38


def test_derived_labels_are_flagged(rows, tmp_path):
    derived = [{**row, "label_source": "derived_delta_melanin"} if i < 5 else row for i, row in enumerate(rows)]
    noted = split_records(write_files(tmp_path, derived)).label_sources()
    assert noted == {"label_sources": {"derived_delta_melanin": 5, "synthetic": 35}, "derived_labels": True}
    assert not split_records(write_files(tmp_path / "plain", rows)).label_sources()["derived_labels"]


def test_a_set_without_cubes_simply_lacks_the_modality(rows, tmp_path):
    files = write_files(tmp_path, [{**row, "multispectral": None} for row in rows], wavelengths_nm=None)
    packed = pack_pixels(files, SIZE, tmp_path / "pixels", photographs="absorbance", versions=VERSIONS)
    assert input_spec(split_records(files), packed).names == ("clinical", "dermoscopy")
    # And one that only test records have cannot be learned.
    few = [{**row, "dermoscopy": row["dermoscopy"] if i == 39 else None} for i, row in enumerate(rows)]
    files = write_files(tmp_path / "few", few)
    packed = pack_pixels(files, SIZE, tmp_path / "more", photographs="absorbance", versions=VERSIONS)
    data = open_lesion_data(records := split_records(files), packed, input_spec(records, packed))
    assert data.spec.names == ("clinical", "multispectral") and data.present.shape == (40, 2)


def test_pseudo_multispectral_pictures_have_four_channels():
    stored = stored_modalities({"cube_px": 8, "multispectral": "pseudo_hsl", "wavelengths_nm": None})
    assert [(m.name, m.kind, m.channels) for m in stored][2] == ("multispectral", "hsl", 4)
    assert stored[2].pixels(np.ones((8, 8, 4), np.float16).tobytes()).shape == (8, 8, 4)


def test_packed_pixels_travel_to_workers_as_plain_values(files, tmp_path):
    import pickle

    packed = pack_pixels(files, SIZE, tmp_path, photographs="absorbance", versions=VERSIONS)
    assert pickle.loads(pickle.dumps(packed)) == packed
    assert json.loads((packed.folder / datasets.PACKED).read_text()) == {"records": 40, "image_size": SIZE}


def test_turning_moves_pixels_and_changes_none():
    torch.manual_seed(0)
    pixels = torch.randn(64, 2, 6, 6)
    out = turned(pixels)
    assert torch.equal(out.flatten(2).sort(2).values, pixels.flatten(2).sort(2).values)
    corner = torch.zeros(64, 1, 6, 6)
    corner[:, :, 0, 1] = 1
    places = {divmod(int(picture.argmax()), 6) for picture in turned(corner)}
    assert places == {(0, 1), (1, 0), (0, 4), (4, 0), (5, 1), (1, 5), (5, 4), (4, 5)}


def test_pictures_are_mirrored_as_the_generator_draws_and_stay_channels_last(data):
    pixels = data.batch(np.arange(12))["multispectral"]
    torch.manual_seed(3)
    out = turned(pixels)
    torch.manual_seed(3)
    across, down, diagonal = torch.rand(3, 12) < 0.5
    for i, picture in enumerate(pixels):
        picture = picture.flip(2) if across[i] else picture
        picture = picture.flip(1) if down[i] else picture
        assert torch.equal(out[i], picture.mT if diagonal[i] else picture)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (pixels, out))


def test_a_gain_keeps_black_black_and_stays_within_its_spread():
    spec = rgb_spec("clinical")
    black, white = (
        to_tensor(spec, np.zeros((4, 4, 3), np.uint8), 4),
        to_tensor(spec, np.full((4, 4, 3), 255, np.uint8), 4),
    )
    torch.manual_seed(0)
    out = with_gain(torch.stack([black, white]).repeat(50, 1, 1, 1), spec, 0.1)
    assert torch.allclose(out[::2], black.expand(50, -1, -1, -1), atol=1e-5)
    scale = torch.tensor(spec.std).view(1, 3, 1, 1)
    gains = ((out[1::2] - black) * scale)[..., 0, 0]
    assert 0.9 <= gains.min() < 0.93 and 1.07 < gains.max() <= 1.1


def test_changes_happen_in_training_only_and_repeat_with_the_seed(data):
    spec = InputSpec(image_size=SIZE, modalities=data.spec.modalities)
    batch = data.batch(np.arange(8))

    class Sum(torch.nn.Module):
        def forward(self, batch):
            return batch["clinical"][:, :, 0].sum((1, 2))

    model = Augmenting(Sum(), spec, 0.05)
    outs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outs.append(model(batch))
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])
    assert torch.equal(model.eval()(batch), Sum()(batch))
    assert set(augmented(batch, spec, 0.0)) == set(spec.names)

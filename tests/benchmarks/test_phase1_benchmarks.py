"""The measured code paths still run and do what their benchmark says; nothing is timed here."""

import pyarrow.parquet as pq
import torch

from benchmarks import phase1_images, phase1_memory


def test_paths_of_the_earlier_pipeline_keep_what_it_keeps(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(phase1_images, "HEIGHT", 120)
    monkeypatch.setattr(phase1_images, "WIDTH", 100)
    film, out = tmp_path / "film.jpg", tmp_path / "out.pt"
    film.write_bytes(phase1_images.draw_film(0))
    phase1_images.earlier_maps_and_split(film, out)
    record = torch.load(out, weights_only=True)
    assert record["image"].shape == (3, 518, 518) and record["image"].dtype == torch.float32
    maps = record["attention_regions"]
    assert maps["saliency_map"].shape == (120, 100) and maps["saliency_map"].dtype == torch.float32
    assert abs(float(maps["salient_regions"].mean()) - 0.1) < 0.02


def test_memory_worker_writes_every_linked_film(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(phase1_memory, "POOL", 2)
    monkeypatch.setattr(phase1_memory, "FULL_SIZE", 0)
    phase1_memory.link_films(phase1_memory.draw_pool(tmp_path), tmp_path, 5)
    links, tables = phase1_memory.study_tables(8)
    phase1_memory.write_records(tmp_path, links.slice(0, 5), tables, tmp_path / "records.parquet")
    table = pq.read_table(tmp_path / "records.parquet")
    assert table.num_rows == 5 and table["image"][0] == table["image"][2] != table["image"][1]
    assert table["history"][0].as_py() and table["chief_complaint"][0].as_py()

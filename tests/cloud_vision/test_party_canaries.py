"""What only one party may know is planted in its raw columns, and then looked for wherever the other may look."""

import socket
import threading
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.cloud_vision import party_process
from mm_assets.cloud_vision.ids import normalise_id
from mm_assets.cloud_vision.party_process import exchange
from mm_assets.cloud_vision.party_steps import SplitKnobs
from mm_assets.cloud_vision.party_training import training_message
from mm_assets.cloud_vision.split_model import SplitConfig
from tests.cloud_vision.party_house import PX

OTHER = {"org2": "org3", "org3": "org2"}
OWN_ASSETS = {"org2": ("org2_records", "org2_features"), "org3": ("org3_records", "upload", "org3_features")}
ALL = (*OWN_ASSETS["org2"], *OWN_ASSETS["org3"], "alignment")
# Far from what the generator draws, all digits significant.
VALUES = {"org2": (271.82818, -1618.034, 57.721566), "org3": (314.15927, -2236.068, 69.314718)}
FEATURE = {"org2": "f1", "org3": "f6"}
FILM_NAME = "zebra-of-org3"
ID_STARTS = ("IMG_", "IMG-", "img_", "img-")  # the generator's spellings but for blanks around


def spellings(value):
    """How a float32 may be written: bytes of either width, and decimal text of either."""
    narrow = np.float32(value)
    wide = float(narrow)
    texts = {str(value), str(narrow), repr(wide), f"{wide:.4f}", f"{wide:.6g}"}
    return {narrow.tobytes(), np.float64(wide).tobytes(), np.float64(value).tobytes(), *(t.encode() for t in texts)}


def label_pattern(labels):
    """A run of labels, in every width of number and as text."""
    numbers = [np.array(labels, kind).tobytes() for kind in (np.uint8, np.int32, np.int64, np.float32)]
    texts = [separator.join(map(str, labels)).encode() for separator in (", ", ",", "")]
    return {*numbers, *texts}


@pytest.fixture
def secrets(house):
    """Party -> kind -> bytes that only it may hold; planted in its delivery."""
    for party, name in FEATURE.items():
        house.change(party, lambda table, party=party, name=name: planted(table, name, VALUES[party]))
    images = pq.read_table(house.folder / "org3" / "mapping.parquet")["local"].to_pylist()
    for number, local in enumerate(images):
        (house.folder / "org3" / local).rename(house.folder / "org3" / renamed(number))
    names = {local: renamed(number) for number, local in enumerate(images)}
    for name, column in (("table.parquet", "image"), ("mapping.parquet", "local")):
        house.change("org3", lambda table, column=column: with_names(table, column, names), name)
    tables = {party: pq.read_table(house.folder / party / "table.parquet") for party in OTHER}
    ids = {party: {normalise_id(text) for text in table["image_id"].to_pylist()} for party, table in tables.items()}
    found = {party: {"values": set().union(*map(spellings, VALUES[party]))} for party in OTHER}
    for party, other in OTHER.items():
        numbers = [name.removeprefix("img_") for name in ids[party] - ids[other]]
        found[party]["ids"] = {f"{start}{number}".encode() for number in numbers for start in ID_STARTS}
    labels = {normalise_id(row["image_id"]): row["label"] for row in tables["org2"].to_pylist()}
    common = [labels[name] for name in sorted(ids["org2"] & ids["org3"])]
    found["org2"]["labels"] = label_pattern(common)
    found["org3"]["film names"] = {FILM_NAME.encode()}
    films = [(house.folder / "org3" / renamed(number)).read_bytes() for number in range(len(images))]
    found["org3"]["films"] = {film[-400:-200] for film in films}
    return found


def planted(table, name, values):
    column = table[name].to_pylist()
    return table.set_column(
        table.column_names.index(name), name, pa.array([*values, *column[len(values) :]], pa.float32())
    )


def renamed(number):
    return f"images/{FILM_NAME}-{number:04d}.jpg"


def with_names(table, column, names):
    changed = pa.array([names[name] for name in table[column].to_pylist()], pa.string())
    return table.set_column(table.column_names.index(column), column, changed)


@pytest.fixture
def carried(monkeypatch):
    """Every byte between the two processes, both ways, as it is on the wire; a list that fills."""
    taken = []
    start = party_process.start_answering

    @contextmanager
    def tapped(access, job):
        with start(access, job) as (url, token), relay(urlsplit(url).port, taken) as port:
            yield f"http://127.0.0.1:{port}", token

    monkeypatch.setattr(party_process, "start_answering", tapped)
    return taken


@contextmanager
def relay(port, taken):
    """Passes connections on to ``port``; ``taken`` gets one bytearray per connection and direction."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def accept():
            while True:
                try:
                    near = listener.accept()[0]
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                for one, two in ((near, far), (far, near)):
                    taken.append(bytearray())
                    threading.Thread(target=pump, args=(one, two, taken[-1]), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def pump(one, two, kept):
    with one, two:
        while block := one.recv(1 << 16):
            kept.extend(block)
            two.sendall(block)


def stored(folder):
    """Path -> the bytes of every file below, and of every column of a Parquet file, which is compressed."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = [path.read_bytes()]
        if path.suffix == ".parquet":
            for column in pq.read_table(path).columns:
                content += [buffer.to_pybytes() for chunk in column.chunks for buffer in chunk.buffers() if buffer]
        found[str(path.relative_to(folder))] = b"\0".join([str(path.relative_to(folder)).encode(), *content])
    return found


def seen(secrets, content):
    """Kinds of ``secrets`` of which ``content`` holds any."""
    return {kind for kind, values in secrets.items() if any(value in content for value in values)}


@pytest.mark.server
def test_nothing_of_a_party_is_found_where_the_other_may_look(house, secrets, carried, capfd, tmp_path):
    house.publish_source()
    result = house.materialize(*ALL)
    stores = {party: house.access(party).artifacts() for party in OTHER}
    versions = {party: stores[party].current("cloud_vision", f"{party}_features").version for party in OTHER}
    aligned = house.store.current("cloud_vision", "alignment")
    splits = np.array(house.store.read_table(aligned, "common.parquet")["split"].to_pylist())
    rows = {name: np.flatnonzero(splits == name) for name in ("train", "validate", "test", "shifted")}
    config, knobs = SplitConfig(image_px=PX, channels=8), SplitKnobs(epochs=2, batch_size=8)
    job = training_message(config, knobs, versions=versions, rows=rows, folder=tmp_path / "run")
    exchange(house.access("org2"), house.access("org3"), job)

    wire = b"\0".join(map(bytes, carried))
    assert wire.count(b"/wire/psi/request") == 1 and wire.count(b"/wire/train/backward") > 1
    logs = "".join(capfd.readouterr()).encode()
    shared = stored(tmp_path / "home" / "cloud_vision" / "alignment")
    for party, other in OTHER.items():
        own = b"".join(stored(tmp_path / "home" / "parties" / party).values())
        # Else what is looked for would not be found anywhere.
        assert seen(secrets[party], own) == set(secrets[party])
        assert seen(secrets[party], wire) == set()
        assert seen(secrets[party], logs) == set()
        for place in (tmp_path / "home" / "parties" / other, tmp_path / "scratch" / "parties" / other):
            for name, content in stored(place).items():
                assert seen(secrets[party], content) == set(), name
        for name, content in shared.items():
            assert seen(secrets[party], content) == set(), name
        for event in result.get_asset_materialization_events():
            if event.asset_key.path[-1] in (*OWN_ASSETS[other], "alignment"):
                told = repr(event.materialization.metadata).encode()
                assert seen(secrets[party], told) == set(), event.asset_key


def test_what_is_looked_for_would_be_found():
    value = VALUES["org2"][0]
    assert any(text in f'{{"f1": {float(np.float32(value))}}}'.encode() for text in spellings(value))
    assert any(text in np.array([1, value], np.float32).tobytes() for text in spellings(value))
    assert any(text in b"labels 0, 2, 1" for text in label_pattern([0, 2, 1]))
    assert any(text in np.array([0, 2, 1]).tobytes() for text in label_pattern([0, 2, 1]))

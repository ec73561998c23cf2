import http.client
import threading

import pytest
import torch

from mm_assets.cloud_vision.wire import (
    Count,
    InProcessWire,
    WireError,
    pack,
    pack_values,
    routed,
    unpack,
    unpack_values,
)
from mm_assets.cloud_vision.wire_http import MOST_BYTES, HttpWire, WireDown, WireServer, served
from resources.errors import MendableError

TOKEN = "a shared secret"


def doubled(kind, payload):
    if kind == "fails/mendable":
        raise MendableError("mend it like this")
    if kind == "fails/secret":
        raise RuntimeError("canary_org3")
    return payload * 2


@pytest.fixture(params=["in process", pytest.param("http", marks=pytest.mark.server)])
def wire(request):
    if request.param == "in process":
        yield InProcessWire(doubled, "org2", "org3")
        return
    with served(doubled, TOKEN) as server:
        wire = HttpWire(server.url, TOKEN, "org2", "org3")
        yield wire
        wire.close()


def test_bytes_and_messages_are_counted_per_direction_and_kind(wire):
    assert wire.call("a/x", b"123") == b"123123"
    wire.call("a/x", b"1")
    wire.call("b/y")
    assert wire.counts == (
        Count("org2", "org3", "a/x", 2, 4),
        Count("org2", "org3", "b/y", 1, 0),
        Count("org3", "org2", "a/x", 2, 8),
        Count("org3", "org2", "b/y", 1, 0),
    )
    assert wire.bytes_carried() == wire.bytes_carried("a/x") == 12
    assert wire.bytes_carried("b/y") == 0


def test_large_messages_arrive_whole(wire):
    payload = bytes(range(256)) * 20_000
    assert wire.call("a/x", payload) == payload * 2


def test_the_other_partys_mendable_error_is_told(wire):
    with pytest.raises(MendableError, match="mend it like this"):
        wire.call("fails/mendable")


@pytest.mark.server
def test_any_other_error_is_told_without_its_text():
    with served(doubled, TOKEN) as server:
        wire = HttpWire(server.url, TOKEN, "org2", "org3")
        with pytest.raises(WireError, match="RuntimeError") as caught:
            wire.call("fails/secret")
        assert "canary" not in str(caught.value)
        assert wire.call("a/x", b"1") == b"11"  # the connection is still good
        wire.close()


@pytest.mark.server
def test_who_does_not_know_the_token_is_refused():
    with served(doubled, TOKEN) as server:
        for token in ("", "another", "a shared secre"):
            wire = HttpWire(server.url, token, "org2", "org3")
            with pytest.raises(WireError, match="token"):
                wire.call("a/x", b"1" * 3_000_000)
            wire.close()


def test_a_server_needs_a_token():
    with pytest.raises(WireError, match="token"):
        WireServer(doubled, "")


@pytest.mark.server
def test_a_message_says_its_length_and_is_not_too_long():
    with served(doubled, TOKEN) as server:
        host, port = server.server_address[:2]
        for length in (str(MOST_BYTES + 1), "-1", "x"):
            connection = http.client.HTTPConnection(host, port, timeout=10)
            connection.putrequest("POST", "/wire/a")
            connection.putheader("Authorization", f"Bearer {TOKEN}")
            connection.putheader("Content-Length", length)
            connection.endheaders()
            assert connection.getresponse().status == 413
            connection.close()


@pytest.mark.server
def test_messages_are_answered_one_at_a_time():
    inside, most = 0, 0

    def slow(kind, payload):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.05)
        inside -= 1
        return b""

    with served(slow, TOKEN) as server:
        wires = [HttpWire(server.url, TOKEN, "org2", "org3") for _ in range(4)]
        threads = [threading.Thread(target=wire.call, args=("a",)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for wire in wires:
            wire.close()
    assert most == 1


@pytest.mark.server
def test_a_party_that_is_gone_is_a_clear_error():
    with served(doubled, TOKEN) as server:
        url = server.url
    with pytest.raises(WireDown, match="org3 did not answer"):
        HttpWire(url, TOKEN, "org2", "org3").call("a/x")


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(WireError, match="http://host:port"):
        HttpWire("ftp://somewhere", TOKEN, "org2", "org3")


def test_subjects_are_routed():
    handle = routed({"a": lambda kind, payload: b"a", "b": lambda kind, payload: b"b"})
    assert (handle("a/x", b""), handle("b/x", b"")) == (b"a", b"b")
    with pytest.raises(WireError, match="'c/x'"):
        handle("c/x", b"")


def test_a_tap_sees_all_that_is_carried():
    seen = []
    InProcessWire(doubled, "org2", "org3", tap=seen.append).call("a/x", b"1")
    assert [(m.sender, m.receiver, m.kind, m.payload) for m in seen] == [
        ("org2", "org3", "a/x", b"1"),
        ("org3", "org2", "a/x", b"11"),
    ]


def test_tensors_and_values_come_back_to_the_bit():
    tensors = {"x": torch.randn(3, 4).T, "rows": torch.arange(5), "empty": torch.zeros(0, 2)}
    got, values = unpack(pack(tensors, epoch=3, knobs={"lr": 0.1}, name="é"))
    assert values == {"epoch": 3, "knobs": {"lr": 0.1}, "name": "é"}
    assert all(torch.equal(got[name], tensor) and got[name].dtype == tensor.dtype for name, tensor in tensors.items())
    assert unpack(pack({}))[1] == {}


@pytest.mark.parametrize("payload", [b"", b"garbage", b"\x80\x04]q\x00.", pack({"x": torch.zeros(9)})[:-1]])
def test_what_is_no_message_is_refused(payload):
    with pytest.raises(WireError, match="cannot be read"):
        unpack(payload)


def test_plain_values():
    assert unpack_values(pack_values({"b": 1, "a": ["x"]})) == {"a": ["x"], "b": 1}
    for payload in (b"[1]", b"{", b"\xff"):
        with pytest.raises(WireError, match="cannot be read"):
            unpack_values(payload)

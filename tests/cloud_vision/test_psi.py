import pytest

from mm_assets.cloud_vision.psi import (
    REQUEST,
    RESULT,
    SETUP,
    EmptyIntersection,
    PsiAnswer,
    PsiFailed,
    find_intersection,
)
from mm_assets.cloud_vision.wire import InProcessWire, WireError, pack_values

OURS = [f"img_{i:03d}" for i in (5, 1, 9, 3, 7)]
THEIRS = [f"img_{i:03d}" for i in (9, 2, 1, 8, 5, 4)]


def joined(answer, tap=None):
    return InProcessWire(answer.handle, "org2", "org3", tap=tap)


def test_both_parties_learn_the_sorted_intersection():
    answer = PsiAnswer(THEIRS)
    common = find_intersection(OURS, joined(answer))
    assert common == ("img_001", "img_005", "img_009")
    assert answer.intersection == common


def test_no_message_holds_an_id_that_is_not_common():
    seen = []
    find_intersection([*OURS, "canary_org2"], joined(PsiAnswer([*THEIRS, "canary_org3"]), seen.append))
    carried = b"".join(message.payload for message in seen)
    assert b"img_005" in carried
    for secret in (b"canary", b"img_003", b"img_007", b"img_002", b"img_008"):
        assert secret not in carried


def test_every_alignment_has_new_keys():
    answer, requests = PsiAnswer(THEIRS), []
    wire = joined(answer, lambda m: requests.append(m.payload) if (m.kind, m.sender) == (REQUEST, "org2") else None)
    assert find_intersection(OURS, wire) == find_intersection(OURS, wire)
    assert len(set(requests)) == 2


def test_bytes_of_the_exchange_are_counted():
    wire = joined(PsiAnswer(THEIRS))
    find_intersection(OURS, wire)
    assert {(count.sender, count.kind, count.messages) for count in wire.counts} == {
        (party, kind, 1) for party in ("org2", "org3") for kind in (SETUP, REQUEST, RESULT)
    }
    assert wire.bytes_carried(SETUP, REQUEST) < 60 * (len(OURS) + len(THEIRS)) + 200


def test_nothing_in_common_is_one_clear_error():
    with pytest.raises(EmptyIntersection, match="no id in common"):
        find_intersection(["a"], joined(PsiAnswer(["b"])))


@pytest.mark.parametrize(("ids", "told"), [(["a", "a"], "doubled"), ([1, 2], "text"), ([], "no ids")])
def test_ids_have_to_be_distinct_texts(ids, told):
    with pytest.raises(PsiFailed, match=told):
        PsiAnswer(ids)
    with pytest.raises(PsiFailed, match=told):
        find_intersection(ids, joined(PsiAnswer(THEIRS)))


def test_an_alignment_answers_one_request_only():
    requests = []
    answer = PsiAnswer(THEIRS)
    wire = joined(answer, lambda m: requests.append(m.payload) if (m.kind, m.sender) == (REQUEST, "org2") else None)
    find_intersection(OURS, wire)
    with pytest.raises(PsiFailed, match="one request"):
        wire.call(REQUEST, requests[0])


def test_a_result_may_only_hold_ids_of_this_party():
    wire = joined(PsiAnswer(THEIRS))
    for ids in (["img_003"], ["img_009", "img_001"], ["img_001", "img_001"], [1], "img_001"):
        with pytest.raises(PsiFailed, match="not sorted ids"):
            wire.call(RESULT, pack_values({"ids": ids}))


def test_garbage_is_a_clear_error():
    wire = joined(PsiAnswer(THEIRS))
    wire.call(SETUP, pack_values({"count": 3}))
    with pytest.raises(WireError, match="cannot be read"):
        wire.call(REQUEST, b"garbage")
    with pytest.raises(WireError, match="cannot be read"):
        wire.call(SETUP, b"\xff")
    with pytest.raises(PsiFailed, match="no ids"):
        wire.call(SETUP, pack_values({"count": 0}))
    with pytest.raises(WireError, match="does not answer"):
        wire.call("psi/other")

import math

import numpy as np
import pytest

from mm_assets.cloud_vision.defence import OPEN, Defence
from mm_assets.cloud_vision.label_leak import LeakRow, as_records, attack, judge, measure
from mm_assets.cloud_vision.party_steps import SplitKnobs
from tests.cloud_vision.split_data import CONFIG, two_parties

TRAIN, VALIDATE, TEST = np.arange(240), np.arange(240, 300), np.arange(300, 420)
KNOBS = SplitKnobs(epochs=4, batch_size=32)


def test_labels_are_read_from_directions_whatever_the_norms():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    directions = np.eye(3, 8)[labels] + rng.normal(0, 0.05, (2, 300, 8))
    gradients = (directions * rng.lognormal(-8, 2, (2, 300, 1))).astype(np.float32)
    leak = attack(gradients, labels, 3)
    assert leak.accuracy == leak.all_epochs == 1.0
    assert leak.per_epoch == (1.0, 1.0)


def test_fresh_noise_averages_out_for_the_attacker():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=400)
    gradients = (np.eye(3, 16)[labels] + rng.normal(0, 1.0, (40, 400, 16))).astype(np.float32)
    leak = attack(gradients, labels, 3)
    assert np.mean(leak.per_epoch) < 0.7
    assert leak.accuracy == leak.all_epochs > 0.95


def test_gradients_that_tell_nothing_give_about_chance():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=3000)
    assert attack(rng.normal(size=(2, 3000, 8)).astype(np.float32), labels, 3).accuracy < 0.38
    nothing = attack(np.zeros((1, 3000, 8), np.float32), labels, 3)
    assert nothing.accuracy == np.bincount(labels).max() / 3000


def test_random_labels_leak_through_an_open_wire_and_hardly_through_merged_ones():
    rows = two_parties(420)
    undefended = measure(OPEN, CONFIG, *rows, TRAIN, VALIDATE, TEST, KNOBS)
    assert undefended.leak > 0.9
    assert undefended.leak_random_labels > 0.9
    assert math.isinf(undefended.epsilon)
    defence = Defence("merged_labels", 0.6, (1, 2))
    defended = measure(defence, CONFIG, *rows, TRAIN, VALIDATE, TEST, KNOBS)
    assert max(defended.leak, defended.leak_random_labels) < 2 / 3 + 0.05  # merged classes stay a guess
    assert defended.epsilon == pytest.approx(math.log(0.8 / 0.2))


def row(defence, validated, leak, accuracy=0.8):
    return LeakRow(defence, accuracy, validated, leak, leak, math.inf)


STRONG, WEAK, DEAR = Defence("noise", 9.0), Defence("noise", 1.0), Defence("noise", 99.0)


def test_the_least_leak_among_those_that_count_is_chosen():
    rows = [row(OPEN, 0.86, 1.0), row(WEAK, 0.86, 0.66), row(STRONG, 0.84, 0.63), row(DEAR, 0.83, 0.4)]
    verdict = judge(rows, 0.62)
    assert (verdict.reached, verdict.chosen) == (True, STRONG)
    assert verdict.text == (
        "noise 9: leak 0.630 beside a guess of 0.620 (undefended 1.000), accuracy on validate 0.840 "
        "(undefended 0.860), on test 0.800 (undefended 0.800)"
    )


def test_accuracies_on_test_have_no_say_in_the_choice():
    for accuracy in (0.1, 0.99):
        rows = [row(OPEN, 0.86, 1.0), row(WEAK, 0.86, 0.66, 1.0 - accuracy), row(STRONG, 0.84, 0.63, accuracy)]
        assert judge(rows, 0.62).chosen == STRONG
    close = [row(OPEN, 0.86, 1.0), row(WEAK, 0.85, 0.6, 0.99), row(STRONG, 0.86, 0.6, 0.1)]
    assert judge(close, 0.62).chosen == STRONG
    lucky = [row(OPEN, 0.86, 1.0, 0.86), row(STRONG, 0.85, 0.6, 0.83)]  # within on validate, three points lost on test
    assert (judge(lucky, 0.62).chosen, judge(lucky, 0.62).reached) == (STRONG, False)
    costly = [row(OPEN, 0.86, 1.0, 0.8), row(DEAR, 0.83, 0.4, 0.8)]
    assert not judge(costly, 0.62).reached


def test_what_is_not_reached_is_said():
    rows = [row(OPEN, 0.86, 1.0), row(WEAK, 0.86, 0.9), row(DEAR, 0.83, 0.4)]
    verdict = judge(rows, 0.62)
    assert (verdict.reached, verdict.chosen) == (False, DEAR)
    assert verdict.text.startswith("not reached; nearest is noise 99")
    assert judge(rows[:1], 0.62).text == "not reached: no defence was tried"


def test_the_table_as_plain_rows():
    assert as_records([row(OPEN, 0.86, 1.0)], 0.62) == [
        {
            "defence": "none",
            "accuracy": 0.8,
            "validated": 0.86,
            "leak": 1.0,
            "guess": 0.62,
            "leak_random_labels": 1.0,
            "epsilon": None,
        }
    ]

"""What the wing `cloud_vision` promises about its networks: judged numbers of training, evaluation and release.

Belongs here: which judge reads which asset. Nothing is measured here: a check compares what an asset published. Does
not belong here: the judges and their bounds (`checks/cloud_vision_model_judges.py`), data assets
(`checks/cloud_vision.py`).
"""

from checks.cloud_vision_model_judges import (
    every_network_has_a_loss,
    joining_is_worth_it,
    labels_are_kept,
    misalignment_hurts,
    model_is_releasable,
    nobody_beats_the_ceiling,
    release_is_current,
    split_equals_central,
    splitting_costs_little,
)
from checks.common import released_and_current
from checks.expectations import metric_check

WING = "cloud_vision"

cloud_vision_model_checks = [
    metric_check((WING, "model"), "every_training_has_a_loss", every_network_has_a_loss),
    metric_check((WING, "model"), "split_equals_central", split_equals_central),
    metric_check((WING, "evaluation"), "better_than_each_party", model_is_releasable),
    metric_check((WING, "evaluation"), "joining_worth_it", joining_is_worth_it, severity="warning"),
    metric_check((WING, "evaluation"), "splitting_costs_little", splitting_costs_little, severity="warning"),
    metric_check((WING, "evaluation"), "below_the_ceiling", nobody_beats_the_ceiling),
    metric_check((WING, "evaluation"), "misalignment_hurts", misalignment_hurts, severity="warning"),
    metric_check((WING, "evaluation"), "labels_kept", labels_are_kept, severity="warning"),
    metric_check(
        (WING, "released_model"), "of_the_current_evaluation", release_is_current,
        read=lambda store: released_and_current(store, WING),
    ),
]  # fmt: skip

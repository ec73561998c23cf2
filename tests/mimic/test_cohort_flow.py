from mm_assets.mimic.cohort import FLOW_SCHEMA
from mm_assets.mimic.linking import LinkConfig, LinkResult, link_studies
from tests.mimic.tiny_tables import PATIENT, image, labels, split, stay, table

STRANGER = PATIENT + 1  # never seen in the emergency department

FILMS = [
    image(1, study=1),
    image(2, study=1, ViewPosition="AP"),  # second film of the study
    image(3, study=2, StudyTime="90000.0"),  # second study of the stay
    image(4, study=3, ViewPosition="LATERAL"),
    image(5, study=4, StudyTime="noon"),
    image(6, study=5, StudyTime="150000.0"),  # after the stay, within 24 hours
    image(7, study=6, subject=STRANGER),
    image(8, study=7),  # without labels
    image(9, study=8),  # without split
    image(10, study=9, StudyTime="999999"),
]


def result(**config: str) -> LinkResult:
    keys = [(row["study_id"], row["subject_id"]) for row in FILMS if row["study_id"] != 7]
    splits = [split(n, "test") for n in (*range(1, 9), 10)]
    return link_studies(
        {
            "cxr_metadata": table("cxr_metadata", FILMS),
            "cxr_chexpert": table("cxr_chexpert", [labels(s, subject=p) for s, p in dict.fromkeys(keys)]),
            "cxr_split": table("cxr_split", splits),
            "edstays": table("edstays", [stay(1, "07:00:00", "12:00:00")]),
        },
        LinkConfig(**config),  # type: ignore[arg-type]
    )


def test_flow_counts_what_is_left_after_each_step() -> None:
    flow = result().flow
    assert flow.schema.equals(FLOW_SCHEMA)
    assert [tuple(row.values()) for row in flow.to_pylist()] == [
        ("all images", 10, 9, 2),
        ("valid id, date and time", 8, 7, 2),
        ("frontal view", 7, 6, 2),
        ("labelled", 6, 5, 2),
        ("in one split", 5, 4, 2),
        ("patient known to the emergency department", 4, 3, 1),
        ("linked to a stay", 3, 2, 1),
        ("one image per study", 2, 2, 1),
        ("one study per stay", 1, 1, 1),
        ("split: train", 0, 0, 0),
        ("split: validate", 0, 0, 0),
        ("split: test", 1, 1, 1),
    ]


def test_steps_never_grow_and_end_in_the_links() -> None:
    for config in ({}, {"rule": "abs24h"}, {"studies_per_stay": "all"}):
        linked = result(**config)
        images = linked.flow["images"].to_pylist()
        assert images[:9] == sorted(images[:9], reverse=True)
        assert images[8] == linked.links.num_rows == sum(images[9:])


def test_both_rules_are_counted_whatever_is_in_force() -> None:
    expected = {
        "eligible_images": 5,
        "within_stay": {"images": 3, "studies": 2, "stays": 1, "images_outside_stay": 0, "linked_share": 0.6},
        "abs24h": {"images": 4, "studies": 3, "stays": 1, "images_outside_stay": 1, "linked_share": 0.8},
        "edstays": {"rows": 1, "usable": 1, "bad": 0, "duplicates": 0},
    }
    for rule in ("within_stay", "abs24h"):
        assert result(rule=rule).rule_counts == {"rule": rule, **expected}

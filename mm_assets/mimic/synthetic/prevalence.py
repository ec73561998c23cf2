"""How often each label occurs: the published rates and the rates that the generator plants.

Belongs here: numbers about label frequency, nothing about how a finding looks or reads.

Source: MIMIC-CXR-JPG "generate-stats" notebook, 222,750 training studies, share on which both labelers agree.
The official test split was enriched with findings (89.1 % of studies against 76.5 % in train).
"""

from dataclasses import dataclass

from mm_assets.mimic.schema import LABELS, NO_FINDING


@dataclass(frozen=True)
class LabelRate:
    """Shares of studies, 0-1; what remains is blank. No Finding is 1.0 or blank only."""

    positive: float
    negative: float
    uncertain: float


PUBLISHED_RATES: dict[str, LabelRate] = {
    "Atelectasis": LabelRate(0.198, 0.004, 0.043),
    "Cardiomegaly": LabelRate(0.171, 0.070, 0.026),
    "Consolidation": LabelRate(0.046, 0.035, 0.013),
    "Edema": LabelRate(0.115, 0.111, 0.051),
    "Enlarged Cardiomediastinum": LabelRate(0.031, 0.023, 0.040),
    "Fracture": LabelRate(0.016, 0.004, 0.001),
    "Lung Lesion": LabelRate(0.027, 0.004, 0.004),
    "Lung Opacity": LabelRate(0.222, 0.013, 0.009),
    "No Finding": LabelRate(0.332, 0.0, 0.0),
    "Pleural Effusion": LabelRate(0.232, 0.119, 0.023),
    "Pleural Other": LabelRate(0.008, 0.001, 0.003),
    "Pneumonia": LabelRate(0.069, 0.107, 0.078),
    "Pneumothorax": LabelRate(0.041, 0.185, 0.004),
    "Support Devices": LabelRate(0.287, 0.014, 0.0),
}
# Share of chexpert rows with no value at all: 2,414 of 227,827.
EMPTY_ROW_SHARE = 2_414 / 227_827
# Chance of a finding in the test split relative to train, chosen so that the share of studies
# with any finding rises about as much as in the published table.
TEST_ENRICHMENT = 1.45
# Share of frontal images that fall within 24 h of an ED stay: 107,949 of 243,334.
PUBLISHED_LINKED_SHARE = 107_949 / 243_334

# No Finding is the absence of the others, so it is never drawn itself.
DRAWN_LABELS: tuple[str, ...] = tuple(label for label in LABELS if label != NO_FINDING)


def planted_rates(floor: float, split: str) -> dict[str, LabelRate]:
    """Rates to plant for the 13 drawn labels: the published ones, positives raised to at least `floor`.

    `floor` 0 keeps the published rates. The test split is enriched, up to a positive rate of .6.
    """
    enrichment = TEST_ENRICHMENT if split == "test" else 1.0
    return {
        label: LabelRate(
            positive=min(0.6, max(PUBLISHED_RATES[label].positive, floor) * enrichment),
            negative=PUBLISHED_RATES[label].negative,
            uncertain=PUBLISHED_RATES[label].uncertain,
        )
        for label in DRAWN_LABELS
    }

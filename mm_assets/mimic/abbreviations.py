"""Abbreviations of emergency triage and what they stand for.

Belongs here: the table and its one use. Does not belong here: terms that name a finding of the film (the
leakage filter removes those before a note is written), and expansions with digits (every number of a note
is the record's).
"""

import re

# Expanded in any case. A slash is part of the abbreviation.
PLAIN: dict[str, str] = {
    "SOB": "shortness of breath",
    "SOBOE": "shortness of breath on exertion",
    "DOE": "dyspnea on exertion",
    "DIB": "difficulty in breathing",
    "PND": "paroxysmal nocturnal dyspnea",
    "CP": "chest pain",
    "CTP": "chest tightness and pain",
    "URI": "upper respiratory infection",
    "URTI": "upper respiratory tract infection",
    "COPD": "chronic obstructive pulmonary disease",
    "OSA": "obstructive sleep apnea",
    "N/V": "nausea and vomiting",
    "N/V/D": "nausea, vomiting and diarrhea",
    "N/D": "nausea and diarrhea",
    "V/D": "vomiting and diarrhea",
    "F/C": "fever and chills",
    "abd": "abdominal",
    "RUQ": "right upper quadrant",
    "LUQ": "left upper quadrant",
    "RLQ": "right lower quadrant",
    "LLQ": "left lower quadrant",
    "GIB": "gastrointestinal bleeding",
    "BRBPR": "bright red blood per rectum",
    "GERD": "gastroesophageal reflux disease",
    "UTI": "urinary tract infection",
    "HTN": "hypertension",
    "HLD": "hyperlipidemia",
    "DM": "diabetes mellitus",
    "IDDM": "insulin-dependent diabetes mellitus",
    "CAD": "coronary artery disease",
    "CABG": "coronary artery bypass graft",
    "PVD": "peripheral vascular disease",
    "CKD": "chronic kidney disease",
    "ESRD": "end-stage renal disease",
    "HD": "hemodialysis",
    "AKI": "acute kidney injury",
    "DVT": "deep vein thrombosis",
    "afib": "atrial fibrillation",
    "AF": "atrial fibrillation",
    "RVR": "rapid ventricular response",
    "SVT": "supraventricular tachycardia",
    "STEMI": "ST-elevation myocardial infarction",
    "NSTEMI": "non-ST-elevation myocardial infarction",
    "CVA": "cerebrovascular accident",
    "TIA": "transient ischemic attack",
    "ICH": "intracranial hemorrhage",
    "AMS": "altered mental status",
    "LOC": "loss of consciousness",
    "LH": "lightheadedness",
    "sz": "seizure",
    "MVC": "motor vehicle collision",
    "MVA": "motor vehicle accident",
    "MCC": "motorcycle collision",
    "GSW": "gunshot wound",
    "TBI": "traumatic brain injury",
    "ICD firing": "shock from implanted defibrillator",
    "ped struck": "pedestrian struck",
    "ETOH": "alcohol",
    "IVDU": "intravenous drug use",
    "HIV": "human immunodeficiency virus",
    "hx": "history",
    "PMH": "past medical history",
    "dx": "diagnosis",
    "tx": "treatment",
    "sx": "symptoms",
    "eval": "evaluation",
    "wt": "weight",
    "BP": "blood pressure",
    "SBP": "systolic blood pressure",
    "HR": "heart rate",
    "RR": "respiratory rate",
    "o2 sat": "oxygen saturation",
    "s/p": "status post",
    "c/o": "complains of",
    "h/o": "history of",
    "r/o": "rule out",
    "w/o": "without",
    "w/": "with",
    "d/t": "due to",
    "y/o": "year-old",
    "b/l": "bilateral",
    "LBP": "low back pain",
    "RLE": "right lower extremity",
    "LLE": "left lower extremity",
    "RUE": "right upper extremity",
    "LUE": "left upper extremity",
    "BLE": "both lower extremities",
}
# Also words or other abbreviations in small letters: expanded in capitals, or when they are a whole item of
# a list.
CAPITALS_ONLY: dict[str, str] = {
    "HA": "headache",
    "SI": "suicidal ideation",
    "HI": "homicidal ideation",
    "OD": "overdose",
    "PE": "pulmonary embolism",
    "MI": "myocardial infarction",
    "CA": "cancer",
    "MS": "multiple sclerosis",
    "LE": "lower extremity",
    "UE": "upper extremity",
    "BS": "blood sugar",
    "FB": "foreign body",
    "ACS": "acute coronary syndrome",
    "PT": "patient",
}
# A single capital at the start of an item, before a word: "L rib pain", never "hepatitis B".
SIDES: dict[str, str] = {"L": "left", "R": "right", "B": "bilateral"}

_BY_KEY = {key.lower(): long for key, long in (PLAIN | CAPITALS_ONLY).items()}
_AMBIGUOUS = frozenset(key.lower() for key in CAPITALS_ONLY)
_ALTERNATIVES = "|".join(re.escape(key) for key in sorted(_BY_KEY, key=len, reverse=True))
# "w/" ends in a slash, so the right boundary is only asked of keys that end in a letter.
_ABBREVIATION = re.compile(rf"(?<![A-Za-z0-9])({_ALTERNATIVES})(?:(?<=/)\s*|(?![A-Za-z0-9]))", re.IGNORECASE)
_SIDE = re.compile(r"(^|[,;/]\s*)([LRB])(?=\s+[A-Za-z]{2})")


def expand(text: str) -> str:
    """`text` with every known abbreviation written out, in small letters; all else unchanged."""
    sided = _SIDE.sub(lambda match: match[1] + SIDES[match[2]], text)
    return _ABBREVIATION.sub(_expansion, sided)


def _expansion(match: re.Match[str]) -> str:
    key = match[1].lower()
    if key in _AMBIGUOUS and not (match[1].isupper() or _is_whole_item(match)):
        return match[0]
    return _BY_KEY[key] + (" " if key.endswith("/") else "")


def _is_whole_item(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()].rstrip(), match.string[match.end() :].lstrip()
    return (not before or before[-1] in ",;") and (not after or after[0] in ",;")

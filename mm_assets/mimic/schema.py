"""Names and orders that the whole wing shares: files, headers, labels, views, features.

Belongs here: what is fixed by the published data sets or by our own table formats.
Does not belong here: rules (linking, labels, leakage) and numbers that somebody may want to tune.

Sources: MIMIC-CXR-JPG 2.1.0 (file names keep 2.0.0), MIMIC-IV-ED 2.2, MIMIC-IV 3.1 as published on PhysioNet.
"""

# Alphabetical, which is the order of the CheXpert and NegBio files. Always index by name.
LABELS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
NO_FINDING = "No Finding"

# MIMIC-IV gives everybody above 89 one age, 91; so no age in years is higher, in training or in a case sent later.
MAX_AGE = 91

SPLITS: tuple[str, ...] = ("train", "validate", "test")
DIRECTORIES: tuple[str, ...] = tuple(f"p{n}" for n in range(10, 20))

FRONTAL_VIEWS: tuple[str, ...] = ("PA", "AP")  # in order of preference when a study has both
KNOWN_VIEWS: frozenset[str] = frozenset(
    {
        "AP", "PA", "LATERAL", "LL", "LPO", "RAO", "RPO", "LAO", "AP AXIAL", "XTABLE LATERAL",
        "AP LLD", "PA LLD", "AP RLD", "PA RLD", "L5 S1", "SWIMMERS",
    }
)  # fmt: skip

# File names below the root of each data set, without ".gz": both .csv and .csv.gz are accepted.
CXR_METADATA = "mimic-cxr-2.0.0-metadata.csv"
CXR_CHEXPERT = "mimic-cxr-2.0.0-chexpert.csv"
CXR_NEGBIO = "mimic-cxr-2.0.0-negbio.csv"
CXR_SPLIT = "mimic-cxr-2.0.0-split.csv"
CXR_RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled.csv"
CXR_IMAGE_LIST = "IMAGE_FILENAMES"

# Column -> DuckDB type, in the order of the published header.
# StudyTime stays text: it lost its leading zeros when it was written as a float (80556.875 is 08:05:56.875).
CXR_METADATA_COLUMNS: dict[str, str] = {
    "dicom_id": "VARCHAR",
    "subject_id": "BIGINT",
    "study_id": "BIGINT",
    "PerformedProcedureStepDescription": "VARCHAR",
    "ViewPosition": "VARCHAR",
    "Rows": "INTEGER",
    "Columns": "INTEGER",
    "StudyDate": "VARCHAR",
    "StudyTime": "VARCHAR",
    "ProcedureCodeSequence_CodeMeaning": "VARCHAR",
    "ViewCodeSequence_CodeMeaning": "VARCHAR",
    "PatientOrientationCodeSequence_CodeMeaning": "VARCHAR",
}
CXR_LABEL_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "study_id": "BIGINT",
    **dict.fromkeys(LABELS, "FLOAT"),
}
CXR_SPLIT_COLUMNS: dict[str, str] = {
    "dicom_id": "VARCHAR",
    "study_id": "BIGINT",
    "subject_id": "BIGINT",
    "split": "VARCHAR",
}
EDSTAYS_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "hadm_id": "DOUBLE",
    "stay_id": "BIGINT",
    "intime": "TIMESTAMP",
    "outtime": "TIMESTAMP",
    "gender": "VARCHAR",
    "race": "VARCHAR",
    "arrival_transport": "VARCHAR",
    "disposition": "VARCHAR",
}
# The six vital signs of triage and vitalsign, in file order. Temperature is degrees Fahrenheit in the tables.
VITALS: tuple[str, ...] = ("temperature", "heartrate", "resprate", "o2sat", "sbp", "dbp")
TRIAGE_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "stay_id": "BIGINT",
    **dict.fromkeys(VITALS, "DOUBLE"),
    "pain": "VARCHAR",
    "acuity": "DOUBLE",
    "chiefcomplaint": "VARCHAR",
}
VITALSIGN_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "stay_id": "BIGINT",
    "charttime": "TIMESTAMP",
    **dict.fromkeys(VITALS, "DOUBLE"),
    "rhythm": "VARCHAR",
    "pain": "VARCHAR",
}
MEDRECON_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "stay_id": "BIGINT",
    "charttime": "TIMESTAMP",
    "name": "VARCHAR",
    "gsn": "VARCHAR",
    "ndc": "VARCHAR",
    "etc_rn": "INTEGER",
    "etccode": "VARCHAR",
    "etcdescription": "VARCHAR",
}
PYXIS_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "stay_id": "BIGINT",
    "charttime": "TIMESTAMP",
    "med_rn": "INTEGER",
    "name": "VARCHAR",
    "gsn_rn": "INTEGER",
    "gsn": "VARCHAR",
}
DIAGNOSIS_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "stay_id": "BIGINT",
    "seq_num": "INTEGER",
    "icd_code": "VARCHAR",
    "icd_version": "INTEGER",
    "icd_title": "VARCHAR",
}
PATIENTS_COLUMNS: dict[str, str] = {
    "subject_id": "BIGINT",
    "gender": "VARCHAR",
    "anchor_age": "INTEGER",
    "anchor_year": "INTEGER",
    "anchor_year_group": "VARCHAR",
    "dod": "DATE",
}

# Columns of links.parquet (arrow types in linking.py), one row per linked study.
LINK_COLUMNS: tuple[str, ...] = (
    "subject_id", "study_id", "dicom_id", "stay_id", "study_dt", "intime", "outtime", "delta_to_intime_min",
    "within_stay", "n_candidates", "rule", "view", "split", "directory", "image_path", "gender", "race", "age",
)  # fmt: skip
# Columns of every rejected.parquet; `mm export mimic quarantine` writes their union.
QUARANTINE_COLUMNS: tuple[str, ...] = ("subject_id", "study_id", "dicom_id", "reason", "detail")

# Tabular inputs of the model, one token each. NaN means missing; the missing flag is derived when read.
# Units: degrees Fahrenheit, beats/min, breaths/min, %, mmHg, mmHg, 0-10, ESI 1-5, years, 0/1, minutes, 0/1.
CLINICAL_FEATURES: tuple[str, ...] = (
    "temperature", "heartrate", "resprate", "o2sat", "sbp", "dbp", "pain", "acuity",
    "age", "sex_female", "minutes_since_arrival", "arrived_by_ambulance",
)  # fmt: skip
# `<feature>_repaired` (bool) exists for these: a value was converted or clipped.
REPAIRABLE_FEATURES: tuple[str, ...] = (*VITALS, "pain")

# Columns of phase1 records.parquet, one row per study; labels are raw: 1, 0, -1 (uncertain), null (blank).
PHASE1_KEYS: tuple[str, ...] = ("subject_id", "study_id", "dicom_id", "stay_id", "split", "view", "study_dt")
PHASE1_COLUMNS: tuple[str, ...] = (
    *PHASE1_KEYS,
    "image",  # JPEG bytes, one channel, square
    "width", "height",  # of the film before resizing, px
    "resize_mode",
    *CLINICAL_FEATURES,
    *(f"{feature}_repaired" for feature in REPAIRABLE_FEATURES),
    "max_feature_time",  # latest event any clinical feature came from; must be < study_dt
    "gender", "race",  # for subgroups and notes; race is never a model input
    "chief_complaint", "history",
    "attention_regions",  # 256 bytes: 16x16 uint8 edge energy inside the lung field
    *LABELS,
)  # fmt: skip
FILTERED_COLUMNS: tuple[str, ...] = ("study_id", "chief_complaint", "history", "n_redactions", "rules_hit")
NOTE_COLUMNS: tuple[str, ...] = (
    "study_id", "pseudo_note", "enhanced_note", "passage_ids", "passage_scores",
    "input_ids", "n_tokens", "truncated",
)  # fmt: skip
PASSAGE_COLUMNS: tuple[str, ...] = ("passage_id", "topic", "labels", "text", "citation", "licence")

# Trained on stored features; each is a network of its own.
STAGE1_VARIANTS: tuple[str, ...] = ("image", "text", "tabular", "concat", "fused", "pooled3")
# `fused` trained on with its encoders freed; only there when the model asset was asked for it.
STAGE2_VARIANT = "fused_stage2"
VARIANTS: tuple[str, ...] = (*STAGE1_VARIANTS, STAGE2_VARIANT)
SINGLE_MODALITIES: tuple[str, ...] = ("image", "text", "tabular")

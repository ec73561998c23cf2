"""The rule table of the leakage filter: which words may not reach the text input, and why.

Belongs here: patterns and their reasons, readable row by row. Does not belong here: how text is cut
(leakage.py).

How to read a pattern: case is ignored; one space stands for any run of spaces or hyphens; every pattern is
bounded by non-alphanumerics on both sides, so that a rule about `CT` can never bite into "fracture",
"active" or "productive". `unless` names phrases that contain the pattern but say something about another
part of the body, or about a symptom; a match that overlaps one of them is let go.

What stays on purpose: symptoms (cough, chest congestion, pleuritic pain, collapse in the sense of syncope),
mechanisms (fall, collision), swelling of limbs, fractures of bones that no chest film shows. Terms per
label follow what the public CheXpert and NegBio labelers count as a mention, plus lay and triage forms.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["label_term", "report_wording", "imaging", "post_hoc"]

_LIMB = (
    r"(?:legs?|pedal|ankles?|peripheral|LE|BLE|LLE|RLE|UE|LUE|RUE|extremit(?:y|ies)|facial|face|lips?|"
    r"tongue|scrotal|scrotum|hands?|arms?|foot|feet|eyelids?|periorbital|cerebral|brain|laryngeal|"
    r"pitting|dependent|knees?|calf|calves)"
)
_BONE_OFF_FILM = (
    r"(?:hips?|femur|femoral|pelvi[cs]|pubic|acetabul\w+|wrists?|ankles?|tib(?:ia|ial)?|"
    r"fib(?:ula|ular)?|tib ?/ ?fib|f(?:oo|ee)t|hands?|fingers?|thumb|toes?|metatarsals?|metacarpals?|"
    r"nasal|nose|jaw|mandib\w+|maxill\w+|orbital|orbit|skull|facial|face|knees?|patell\w+|elbows?|"
    r"forearms?|radi(?:us|al)|ulnar?|colles|legs?|arms?|tooth|dental)"
)
_ORGAN_OFF_FILM = (
    r"(?:breast|neck|abd(?:ominal|omen)?|pelvic|thyroid|skin|scalp|renal|kidney|liver|hepatic|"
    r"pancrea\w+|ovarian|adnexal|testicular|scrotal|brain|groin|inguinal|leg|arm|oral|facial|back|"
    r"rectal|anal|vaginal|adrenal|colon|muscle|body|subcutaneous|soft tissue)"
)
_FRACTURE = r"(?:fractur(?:e|es|ed)|f(?:x|xs|rx))"
_JOINT = r"(?:joints?|knees?|elbows?|hips?|ankles?|shoulders?|ears?|middle ear|subdural)"
_LUNG = (
    r"(?:lungs?|pulm(?:onary)?|lobe|hilar|chest|mediastinal|pleural|thoracic|endobronchial|bronchial|"
    r"spiculated|cavitary|coin|R[UML]L|L[UL]L)"
)
_WHOSE = r"(?:the |her |his |my |their |both |left |right )*"


@dataclass(frozen=True)
class Rule:
    """One row: `pattern` is forbidden because `why`; `label` is set for label terms only."""

    id: str
    kind: Kind
    label: str | None
    pattern: str
    why: str
    unless: str | None = None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a table pattern under the reading rules of the module docstring."""
    spaced = pattern.replace(" ?", r"[\s-]*").replace(" ", r"[\s-]+")
    return re.compile(rf"(?<![A-Za-z0-9])(?:{spaced})(?![A-Za-z0-9])", re.IGNORECASE)


def _term(label: str, name: str, pattern: str, why: str, unless: str | None = None) -> Rule:
    return Rule(f"{label.lower().replace(' ', '_')}.{name}", "label_term", label, pattern, why, unless)


LABEL_RULES: tuple[Rule, ...] = (
    _term("Atelectasis", "name", r"atelect\w+", "the label itself"),
    _term(
        "Atelectasis", "collapse",
        r"(?:lobar|lobe|segmental|subsegmental) collapse|collapsed lobe|collapse of the (?:\w+ )*lobe",
        "collapse of a lobe is the finding; bare 'collapse' is syncope and stays",
    ),
    _term(
        "Atelectasis", "volume",
        r"(?:lung )?volume loss|loss of (?:lung )?volume|low lung volumes?|mucus plug(?:s|ging|ged)?",
        "volume loss and its cause are read from the film",
    ),
    _term("Cardiomegaly", "name", r"cardiomeg\w*", "the label itself"),
    _term(
        "Cardiomegaly", "enlarged_heart",
        r"(?:enlarged|big|large|dilated) heart|heart (?:is )?enlarge(?:d|ment)|"
        r"cardiac (?:enlargement|silhouette)|heart size|dilated cardiomyopathy|cardiothoracic ratio|"
        r"CTR ?(?:[<>=]|of|is) ?[\d.]+",
        "lay and measured forms of the label",
    ),
    _term("Consolidation", "name", r"consolidat(?:ion|ions|ed|ive|ing)|air bronchograms?",
        "the label and its sign"),
    _term(
        "Edema", "name", r"o?edema(?:tous)?", "the label itself; swelling of limbs, face and brain stays",
        unless=rf"{_LIMB} (?:pitting )?o?edema(?:tous)?|"
        rf"o?edema(?:tous)? (?:of |in |to |on )?(?:the |both |bilateral |left |right |l |r )*{_LIMB}",
    ),
    _term(
        "Edema", "heart_failure", r"CHF|ADHF|HF[rmp]+EF|(?:heart|cardiac|ventricular) failure|"
        r"(?:acute|chronic|decompensated|worsening|systolic|diastolic) HF",
        "labelers count heart failure as a mention of Edema",
    ),
    _term(
        "Edema", "lung_fluid",
        rf"(?:fluid|water) (?:on|in|inside|filling) {_WHOSE}lungs?|wet lungs?|"
        r"(?:fluid|volume) overload(?:ed)?",
        "lay form of pulmonary oedema and the verdict drawn from it",
    ),
    _term(
        "Edema", "congestion",
        r"(?:pulm(?:onary)?|vascular|lung|venous|hilar) congestion|vascular (?:redistribution|prominence)|"
        r"kerley(?: [ABC])?(?: lines?)?|cephali[sz]ation",
        "film signs; chest and nasal congestion are symptoms and stay",
    ),
    _term(
        "Enlarged Cardiomediastinum", "mediastinum", r"(?:cardio|pneumo)?mediastin\w+",
        "the mediastinum is not seen without imaging: widening, mass, shift, contour, free air",
    ),
    _term(
        "Fracture", "name", _FRACTURE,
        "the label itself; bones that no chest film shows stay",
        unless=rf"{_BONE_OFF_FILM} (?:bone )?{_FRACTURE}|"
        rf"{_FRACTURE} (?:of |to |in )?(?:the |distal |proximal |both |left |right |l |r )*{_BONE_OFF_FILM}",
    ),
    _term(
        "Fracture", "broken_bone",
        r"(?:broken|cracked|busted) (?:left |right )?(?:ribs?|collar ?bone|clavicle|sternum|breastbone|"
        r"back|spine|shoulder|scapula)|ribs? (?:is |are )?(?:broken|cracked)|"
        r"(?:vertebral|compression|rib) deformit(?:y|ies)|flail chest",
        "lay forms for bones that a chest film shows",
    ),
    _term(
        "Lung Lesion", "lung_lesion",
        rf"{_LUNG} (?:mass(?:es)?|nodules?|lesions?|tumou?rs?|cancers?|ca|(?:adeno)?carcinoma|malignan\w+|"
        r"neoplasms?|metasta\w+|mets|spots?|growths?|cavit(?:y|ies)|granulomas?)",
        "a lesion named by its place in the chest",
    ),
    _term(
        "Lung Lesion", "lesion_of_lung",
        r"(?:mass(?:es)?|nodules?|lesions?|tumou?rs?|cancer|growths?|spots?) (?:on|in|of|at|to|near|"
        rf"within) {_WHOSE}(?:lungs?|chest|hilum|(?:\w+ )?lobe)", "the same, the other way round",
    ),
    _term(
        "Lung Lesion", "mass", r"mass(?:es)?",
        "unplaced masses are usually ones seen on imaging; those of other organs stay",
        unless=
        rf"{_ORGAN_OFF_FILM} mass(?:es)?|mass(?:es)? (?:on|in|of|to) {_WHOSE}{_ORGAN_OFF_FILM}|mass index",
    ),
    _term(
        "Lung Lesion", "nodule", r"nodul(?:e|es|ar|arity)", "as for masses",
        unless=
        rf"{_ORGAN_OFF_FILM} nodul(?:e|es|ar|arity)|nodul(?:e|es) (?:on|in|of|to) {_WHOSE}{_ORGAN_OFF_FILM}",
    ),
    _term("Lung Lesion", "tumour_name", r"NSCLC|SCLC|mesothelioma|bronchogenic \w+",
        "tumours of the chest by name"),
    _term("Lung Opacity", "opacity",
        r"opaci\w+|white ?out|ground glass|GGOs?|lung shadow(?:s|ing)?|shadow(?:s)? on (?:the )?lungs?",
        "the label itself"),
    _term(
        "Lung Opacity", "infiltrate", r"infiltrat(?:e|es|ed|ion|ions|ive)",
        "report word for opacity; an infiltrated drip stays",
        unless=r"(?:IV|line|drip) infiltrat\w+|infiltrat\w+ (?:IV|line|drip)",
    ),
    _term(
        "Lung Opacity", "airspace",
        r"air ?space(?: disease)?|interstitial \w+|reticul(?:ar|ations?|onodular)|patchy dens\w+",
        "report words for opacity",
    ),
    _term(
        "No Finding", "clear",
        r"(?:normal|clear|negative|neg|unremarkable|nl|wnl) (?:chest|lungs?|lung fields?|films?)|"
        r"lungs? (?:are |is |fields? )?clear",
        "a verdict on the film; clear to auscultation is examination and stays", unless=
        r"lungs? (?:are |is )?clear to auscultation",
    ),
    _term(
        "No Finding", "no_acute",
        r"no (?:acute |significant |focal )*(?:cardiopulmonary|cardio ?pulmonary|intrathoracic|"
        r"pulmonary) \w+|"
        r"no (?:acute|significant|focal|abnormal) (?:findings?|process|disease|abnormalit(?:y|ies))|"
        r"no findings?|unremarkable",
        "the impression of a normal report",
    ),
    _term(
        "Pleural Effusion", "effusion", r"effusions?", "the label itself; effusions of joints stay",
        unless=rf"{_JOINT} effusions?|effusions? (?:of|in|on) {_WHOSE}{_JOINT}",
    ),
    _term(
        "Pleural Effusion", "fluid",
        rf"fluid (?:around|outside|next to|by|surrounding) {_WHOSE}lungs?|hydrothora\w+|"
        r"ha?emo(?:pneumo)?thora\w+|hydropneumothora\w+|chylothora\w+|empyemas?|parapneumonic|"
        r"thora(?:co)?centes[ie]s|thoracocentesis|lungs? (?:tapped|drained)",
        "other fluids in the pleural space, lay forms and the tap that proves them",
    ),
    _term("Pleural Other", "pleura",
        r"pleural(?:ly)?|fibrothora\w+|pleurodesis|trapped lung|apical cap(?:ping)?",
          "pleural thickening, plaques and scars; pleuritic pain and pleurisy are symptoms and stay"),
    _term("Pneumonia", "name",
        r"(?:broncho ?)?pn(?:eu|ue|e|u)mon(?:ia|ias|itis|a|nia)|PNAs?|HCAP|HAP|VAP|PJP",
        "the label and its abbreviations"),
    _term(
        "Pneumonia", "lay",
        r"(?:lungs?|chest|pulmonary|lower respiratory(?: tract)?) infect(?:ions?|ed)|"
        rf"infect(?:ions?|ed) (?:in|of|on) {_WHOSE}(?:lungs?|chest)|LRTI|infectious process",
        "lay and report forms",
    ),
    _term("Pneumothorax", "name", r"(?:tension ?)?pn(?:eu|ue|u|e)mothora\w+|PTX|PNX",
        "the label and its abbreviations"),
    _term(
        "Pneumothorax", "collapsed_lung",
        rf"(?:collapsed|dropped|popped|punctured|deflated) {_WHOSE}lungs?|lungs? (?:\w+ )?collapse[ds]?|"
        rf"air (?:around|outside) {_WHOSE}lungs?|deep sulcus|bleb(?:s)? rupture[ds]?|ruptured blebs?",
        "lay forms; also used for atelectasis",
    ),
    _term(
        "Support Devices", "airway",
        r"(?:re)?intubat(?:ed|ion|e)|extubat(?:ed|ion)|endotracheal|ETT|ET tube|trach|tracheostom\w+|"
        r"tracheotomy|ventilator|vented|mechanical(?:ly)? ventilat\w+",
        "tubes in the airway show on the film",
    ),
    _term(
        "Support Devices", "lines",
        r"PICC|central (?:venous )?(?:lines?|catheters?|access)|CVCs?|CVLs?|"
        r"(?:IJ|subclavian|arterial|tunnell?ed|dialysis|HD|midline) (?:lines?|catheters?)|port a ?cath|"
        r"portacath|(?:chemo|medi|power|infusa) ?port|"
        r"port (?:infection|problem|placement|site|access|removal)|hickman|broviac|perm ?a?cath|"
        r"swan(?: ganz)?|line (?:placement|infection|sepsis)",
        "lines end in the chest",
    ),
    _term(
        "Support Devices", "tubes",
        r"chest tubes?|pigtail(?: \w+)?|thoracostomy|pleurx|NGT|NG tubes?|nasogastric(?: \w+)?|OGT|"
        r"OG tubes?|dobb?hoff(?: \w+)?|(?:feeding|enteric) tubes?",
        "drains and feeding tubes that cross the chest",
    ),
    _term(
        "Support Devices", "cardiac",
        r"pace ?makers?|pacers?|pacing (?:wires?|leads?)|PPM|AICD|ICD|BiV ICD|defibrillators?|[LR]VAD|"
        r"BiVAD|ventricular assist|IABP|balloon pump|ECMO|impella|"
        r"(?:mechanical|prosthetic|artificial|bioprosthetic|tissue) (?:\w+ )?valves?|valve replace\w+|"
        r"TAV[RI]|loop recorder|sternal wires?|VP shunt|ventriculoperitoneal shunt",
        "implants that show on the film; a felt shock is a symptom and stays",
        unless=r"ICD ?(?:9|10)|ICD (?:firing|fired|fires|shock(?:s|ed)?|went off|discharged?)",
    ),
)  # fmt: skip

OTHER_RULES: tuple[Rule, ...] = (
    Rule(
        "report.section", "report_wording", None,
        r"findings|impression|wet read|(?:prelim(?:inary)?|final|official) (?:read|report)|"
        r"radiolog(?:y|ist|ists|ic|ical)",
        "headings and speakers of a radiology report",
    ),
    Rule(
        "report.phrase", "report_wording", None,
        r"(?:consistent|compatible) with|suggest(?:ive|ing) of|suspicious for|evidence of|"
        r"(?:cannot|can not|not) be excluded|clinical(?:ly)? correlat\w+|correlate clinically|"
        r"interval (?:change|development|increase|decrease|improvement|worsening|removal|placement)|"
        r"(?:compared|comparison) (?:to|with)(?: the)? prior|no interval",
        "a reader's turns of phrase",
    ),
    Rule(
        "report.anatomy", "report_wording", None,
        r"bibasilar|bibasal|biapical|perihilar|hilar|hila|hilum|retrocardiac|costophrenic|cardiophrenic|"
        r"hemidiaphragm\w*|lingula\w*|silhouett\w+|R[UML]L|L[UL]L|(?:upper|middle|lower) lobes?|lobar|"
        r"lung (?:bases?|fields?|ap(?:ex|ices)|zones?|markings?)|hyperinflat\w+|blunting|sulcus",
        "regions that only a reader of the film names; RUQ, RLQ and the like are the abdomen and stay",
    ),
    Rule(
        "imaging.ct", "imaging", None, r"CTs?|CTA|CTPA|HRCT|CTAP|NCCT|CTH|CAT scans?|computed tomograph\w+",
        "another look inside the chest tells what the film shows", unless=r"CTA ?b ?/? ?l|CT surg\w+",
    ),
    Rule(
        "imaging.film", "imaging", None,
        r"CXRs?|x ?rays?|radiogra\w+|KUB|chest XR|XR (?:chest|ribs?|abd\w*|hip|knee|spine|shoulder)|"
        r"fluoroscop\w+|(?:chest|plain|abn|abnl|abnormal|outside|positive|prior) films?|"
        r"films? (?:shows?|showed|showing|taken|done)",
        "the film itself, or an earlier one; XR in a drug name is extended release and stays",
    ),
    Rule(
        "imaging.other", "imaging", None,
        r"MRIs?|MRA|MRCP|ultrasounds?|u/s|sonogra\w+|echo(?:s|cardiogra\w+)?|TTE|TEE|PET ?/ ?CT|scans?|"
        r"scanned|imaging|images|mammogra\w+|angiogra\w+|bronchoscop\w+",
        "results of other imaging",
    ),
    Rule(
        "post_hoc.diagnosis", "post_hoc", None,
        r"(?:newly |recently |just )?diagnosed(?: with)?|"
        r"(?:discharge|final|ED|primary|principal|admission|admitting|admit) (?:diagnos[ie]s|dx)|"
        r"(?:new|final) dx|(?:I50|I51|J1[2-8]|J8[0-6]|J9[0-8]|R91|S2[0-9])\.\d{1,4}|ICD ?(?:9|10)(?: \w+)?",
        "a diagnosis is made after the film",
    ),
    Rule(
        "post_hoc.disposition", "post_hoc", None,
        r"admi(?:t|ts|tted|ssion)(?: (?:to|for|from) (?:the )?(?:\w+))?|"
        r"discharged(?: (?:to|home|from|on|with)(?: \w+)?)?|disposition|"
        r"(?:transferred|sent|moved) to (?:the )?(?:\w*ICU|floor|OR|wards?)|expired|deceased|died|eloped|"
        r"left AMA|left without being seen|left against medical advice|length of stay|"
        r"hospital day(?: \d+)?|(?:MICU|SICU|CCU|ICU) (?:bed|stay|consult)",
        "what became of the patient; discharge as a symptom stays",
    ),
    Rule(
        "post_hoc.transfer", "post_hoc", None,
        r"transfer(?:s|red)?(?: (?:from|via) (?:\w+ )?\w+)?|xfer|"
        r"(?:outside|OSH) (?:hospital|ED|read|report)|OSH",
        "a transferred patient has been imaged elsewhere, and complaints of transfers quote that reading",
    ),
    Rule(
        "post_hoc.treatment", "post_hoc", None,
        r"(?:started|given|received|placed) (?:on )?(?:IV |broad spectrum )?(?:abx|antibiotics?|lasix|"
        r"furosemide|diuretics?|diuresis|levaquin|levofloxacin|ceftriaxone|vanc(?:omycin)?|zosyn)|"
        r"diuresed|(?:being )?treated for|needle decompression",
        "treatment chosen after the film was read",
    ),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*LABEL_RULES, *OTHER_RULES)

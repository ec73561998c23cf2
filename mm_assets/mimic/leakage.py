"""Phase 1b: take out of pre-image text what says, or was learnt from, the answer.

Belongs here: how text is cut. Does not belong here: what is forbidden (leakage_rules.py) and how well it
works (leakage_audit.py). The filter sees text only, never a label or a split, so that the same words are
treated the same way in every record and the fact of a redaction carries nothing a label would.

Text is cut in three steps: sentences, comma or semicolon items, and, in short items, the parts joined by
"and", "with" or a slash. The smallest unit that holds a forbidden term goes, with the separator before it;
everything else is copied byte for byte. Nothing is put in its place.
"""

import re
from dataclasses import dataclass

from mm_assets.mimic.leakage_rules import RULES, Rule, compile_pattern

# A full stop ends a sentence only before a space or the end: 98.6 stays whole.
_SENTENCE_END = re.compile(r"((?:[.!?]+(?=\s|$)|\n)\s*)")
_ITEM_SEPARATOR = re.compile(r"(\s*[,;|]\s*(?:(?:and|or)\s+)?(?![\d]{3}(?!\d)))")
_HEADING = re.compile(r"\s*[A-Za-z][A-Za-z /]{2,40}:\s+")
# A slash joins two complaints only between words: s/p, c/o and N/V are one word each.
_PART_SEPARATOR = re.compile(
    r"\s+(?:and|or|plus|with|&|\+)\s+|\s+w/\s*|(?<=[A-Za-z]{2})/(?=[A-Za-z]{2})|\s+[-/]\s+", re.IGNORECASE
)
# Longer items are prose: cutting a part out of the middle would leave broken grammar, so the whole item goes.
_MAX_WORDS_TO_SPLIT = 8
_FILLER = re.compile(
    r"(?:\W|\b(?:pt|patient|presents?|presenting|has|had|is|was|a|an|the|known|new|possible|possibly|likely|probable|"
    r"acute|chronic|old|recent|recently|hx|h/o|history|of|c/o|s/p|r/o|rule|out|concern|for|eval|evaluate|evaluation|"
    r"left|right|bilateral|l|r|b/l|sided|large|small|found|to|have|told|per|abn|abnl|abnormal|positive|and|or|with)\b)*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Redaction:
    """`text` after filtering, how many units were removed, and the sorted ids of the rules that asked for
    it.
    """

    text: str
    n_redactions: int
    rules_hit: tuple[str, ...]


@dataclass(frozen=True)
class _Compiled:
    rule: Rule
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None


_COMPILED = tuple(
    _Compiled(rule, compile_pattern(rule.pattern), compile_pattern(rule.unless) if rule.unless else None)
    for rule in RULES
)
# One pass that rules most texts out before the rules are tried one by one.
_ANY = re.compile("|".join(f"(?:{c.pattern.pattern})" for c in _COMPILED), re.IGNORECASE)


@dataclass(frozen=True)
class _Match:
    start: int
    end: int
    rule_id: str


def redact(text: str) -> Redaction:
    """Remove every unit of `text` that a rule of leakage_rules.RULES forbids. Idempotent; depends on `text`
    alone.
    """
    removed = 0
    hits: set[str] = set()
    while True:
        shorter, n, rule_ids = _one_pass(text)
        if n == 0:
            return Redaction(text, removed, tuple(sorted(hits)))
        # Neighbours of a removed unit can form a new term, so the pass is repeated until nothing is found.
        text, removed = shorter, removed + n
        hits |= rule_ids


def _matches(text: str) -> list[_Match]:
    if not _ANY.search(text):
        return []
    found = []
    for compiled in _COMPILED:
        allowed = [m.span() for m in compiled.unless.finditer(text)] if compiled.unless else []
        for match in compiled.pattern.finditer(text):
            if not any(start < match.end() and match.start() < end for start, end in allowed):
                found.append(_Match(match.start(), match.end(), compiled.rule.id))
    return found


def _one_pass(text: str) -> tuple[str, int, set[str]]:
    matches = _matches(text)
    if not matches:
        return text, 0, set()
    kept: list[str] = []
    removed = 0
    position = 0
    for sentence, end in _pieces(text, _SENTENCE_END):
        inside = _within(matches, position, position + len(sentence))
        if inside:
            shorter, n = _cut_sentence(sentence, inside)
            removed += n
            # Prose keeps its capital, or a small letter would mark the place; typed lists mix both anyway.
            if shorter:
                kept.append((_case_like(sentence, shorter) if end.strip() else shorter) + end)
        else:
            kept.append(sentence + end)
        position += len(sentence) + len(end)
    return "".join(kept).rstrip(), removed, {m.rule_id for m in matches}


def _cut_sentence(sentence: str, matches: list[_Match]) -> tuple[str, int]:
    heading = _HEADING.match(sentence)
    offset = heading.end() if heading else 0
    if any(m.start < offset for m in matches):
        return "", 1
    kept = ""
    removed = 0
    position = offset
    separator = ""
    for item, next_separator in _pieces(sentence[offset:], _ITEM_SEPARATOR):
        inside = _within(matches, position, position + len(item))
        if inside:
            shorter, n = _cut_item(item, inside)
            removed += n
        else:
            shorter = item
        if shorter.strip():
            kept += (separator if kept else "") + shorter
        position += len(item) + len(next_separator)
        separator = next_separator
    if not kept:
        return "", max(removed, 1)
    return sentence[:offset] + kept, max(removed, 1)


def _cut_item(item: str, matches: list[_Match]) -> tuple[str, int]:
    if len(item.split()) > _MAX_WORDS_TO_SPLIT:
        return "", 1
    kept = ""
    removed = 0
    start = 0
    separator = ""
    cuts = [m for m in _PART_SEPARATOR.finditer(item) if not _overlaps(matches, m.start(), m.end())]
    for cut_start, cut_end in [*(m.span() for m in cuts), (len(item), len(item))]:
        part = item[start:cut_start]
        if _overlaps(matches, start, cut_start):
            removed += 1
        else:
            kept += (separator if kept else "") + part
        separator = item[cut_start:cut_end]
        start = cut_end
    # "Patient with" or "new left-sided" say nothing once the finding is gone.
    return ("", removed) if _FILLER.fullmatch(kept) else (kept, removed)


def _pieces(text: str, separator: re.Pattern[str]) -> list[tuple[str, str]]:
    """Split into (piece, separator after it); joined in order they give `text` again."""
    fields = [*separator.split(text), ""]
    return [(fields[i], fields[i + 1]) for i in range(0, len(fields) - 1, 2) if fields[i] or fields[i + 1]]


def _within(matches: list[_Match], start: int, end: int) -> list[_Match]:
    """Matches that touch [start, end), in coordinates of that piece."""
    return [_Match(m.start - start, m.end - start, m.rule_id) for m in matches if m.start < end and m.end > start]


def _overlaps(matches: list[_Match], start: int, end: int) -> bool:
    return any(m.start < end and m.end > start for m in matches)


def _case_like(before: str, after: str) -> str:
    if before[:1].isupper() and after[:1].islower():
        return after[0].upper() + after[1:]
    return after

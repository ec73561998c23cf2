"""The findings as a table of bars: probability, interval and threshold of each label.

Belongs here: the HTML of findings; all text is escaped.
"""

from collections.abc import Sequence
from html import escape

from mm_assets.mimic.case import Finding


def percent(share: float) -> str:
    """A probability for people: no false precision, and never a certain 0 or 100."""
    if share < 0.01:
        return "&lt;1 %"
    if share > 0.99:
        return "&gt;99 %"
    return f"{share * 100:.0f} %"


def findings_table(findings: Sequence[Finding], interval: str) -> str:
    """Labels above their threshold first, each group by falling probability."""
    ordered = sorted(findings, key=lambda finding: (not finding.positive, -finding.probability))
    above = sum(finding.positive for finding in findings)
    rows = "".join(_row(finding) for finding in ordered)
    return (
        f'<p class="mm-hint">{above} of {len(findings)} labels are above their threshold.</p>'
        '<div class="mm-scroll"><table class="mm-findings">'
        '<thead><tr><th scope="col">Label</th><th scope="col">Calibrated, 0 to 100 %</th>'
        '<th scope="col" class="number">Probability</th><th scope="col" class="number">Interval</th>'
        '<th scope="col" class="number limit">Threshold</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        '<div class="mm-key"><span><b>▲</b> above its threshold</span><span><b>┆</b> threshold chosen on the '
        f"validation split</span><span><b>├─┤</b> {escape(interval)}</span></div>"
    )


def _row(finding: Finding) -> str:
    positive = ' class="positive"' if finding.positive else ""
    mark = (
        '<span class="mark" title="above its threshold">▲</span>' if finding.positive else '<span class="mark"></span>'
    )
    numbers = (finding.probability, finding.low, finding.high, finding.threshold)
    at, low, high, threshold = (round(100 * number, 1) for number in numbers)
    return (
        f'<tr{positive}><th scope="row" class="name">{mark}{escape(finding.label)}</th>'
        '<td><div class="mm-bar" aria-hidden="true">'
        f'<i class="fill" style="width:{at}%"></i>'
        f'<i class="interval" style="left:{low}%;width:{max(high - low, 0.4):.1f}%"></i>'
        f'<i class="threshold" style="left:{threshold}%"></i></div></td>'
        f'<td class="number">{percent(finding.probability)}</td>'
        f'<td class="number range">{percent(finding.low)} – {percent(finding.high)}</td>'
        f'<td class="number range limit">{percent(finding.threshold)}</td></tr>'
    )

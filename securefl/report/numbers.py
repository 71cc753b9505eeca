"""How the report writes a number: one rule for each kind of quantity, so that a figure looks the same everywhere.

A number comes from a record; nothing is computed here beyond its unit. What a record doesn't have is a dash.
"""

from __future__ import annotations

import math
import re

from securefl.records import AttackRecord

DASH = "–"
PERCENT = "\u00a0%"
"""A figure and its unit stay on one line."""
_PLAIN = ("auc", "epsilon", "eps", "tanimoto", "nats", "bits")
_WORDS = {
    "tpr": "TPR", "fpr": "FPR", "auc": "AUC", "mcc": "MCC", "r2": "R²", "roc": "ROC", "mae": "MAE", "rmse": "RMSE",
    "rlwe": "RLWE",
}  # fmt: skip
_NAMES = {
    "exact": "recovered exactly",
    "accuracy": "labels right",
    "single_compound_recall": "one compound's own bits found",
    "membership_loss": "membership by loss",
    "membership_rmia": "membership by RMIA",
    "membership_extremity": "membership by extreme predictions",
    "membership_lira": "membership by LiRA",
    "trajectory_fedmia": "trajectory by FedMIA",
    "single_partner_recall": "one partner's own bits found",
    "one_contributor_recall": "bits of one partner alone, told by the count",
    "epsilon_lower_bound": "epsilon, lower bound",
    "membership_surrogate": "membership by surrogate heads",
    "molecule_lookup": "molecules behind the fingerprints",
    "named": "molecules named",
    "published_named": "published molecules named",
    "grown_named": "unpublished molecules built",
}


def key(name: str) -> str:
    """Return ``name`` as the appetite spells it: lower case, every run of other signs one underscore.

    >>> key("TPR at FPR 0.01")
    'tpr_at_fpr_0_01'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def title(name: str) -> str:
    r"""Return a metric's or an attack's name as a person reads it.

    >>> title("tpr_at_fpr_0_1pct"), title("exact_recovery"), title("auc")
    ('TPR at FPR 0.1\xa0%', 'exact recovery', 'AUC')
    """
    if key(name) in _NAMES:
        return _NAMES[key(name)]
    spelt = re.sub(r"(\d+(?:_\d+)?)pct\b", lambda match: match[1].replace("_", ".") + PERCENT, name.replace("-", " "))
    return " ".join(_WORDS.get(word.lower(), word) for word in re.split(r"[_ ]+", spelt) if word)


def leak_title(name: str) -> str:
    r"""Return a sweep's ``VIEW.ATTACK.METRIC@RELEASE`` as a person reads it; another name as :func:`title` does.

    >>> leak_title("V4.membership_rmia.tpr_at_fpr_1pct@model"), leak_title("exact_recovery")
    ('V4 membership by RMIA, TPR at FPR 1\xa0%, model', 'exact recovery')
    """
    rest, _, release = name.partition("@")
    parts = rest.split(".")
    if len(parts) != 3 or not release:
        return title(name)
    return f"{parts[0]} {title(parts[1])}, {title(parts[2])}, {release}"


def setting(value: str) -> str:
    """Return a sweep's value as a person reads it.

    >>> setting("inf"), setting("3")
    ('∞', '3')
    """
    return "∞" if value == "inf" else value


def attack_title(name: str) -> str:
    """Return the attack in a sweep's ``VIEW.ATTACK.METRIC@RELEASE``; nothing where the name has no such parts.

    >>> attack_title("V4.membership_rmia.tpr_at_fpr_1pct@model")
    'membership by RMIA'
    """
    parts = name.split(".")
    return title(parts[1]) if len(parts) == 3 else ""


def is_share(metric: str | None, *, counted: bool = False) -> bool:
    """Return whether ``metric`` is a share of a whole, which reads best in percent; ``counted`` says that it is k of n."""
    return counted or not (set(key(metric or "").split("_")) & set(_PLAIN))


def decimal(value: float | None, places: int = 2) -> str:
    """Return ``value`` with fixed places and a true minus sign, or a dash.

    >>> decimal(-0.004), decimal(0.4567), decimal(None)
    ('0.00', '0.46', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, places: int = 2) -> str:
    """Return a difference, always with its sign.

    >>> signed(0.12), signed(-0.12), signed(0.0)
    ('+0.12', '−0.12', '±0.00')
    """
    text = decimal(value, places)
    if text == DASH or text.startswith("−"):
        return text
    return ("±" if float(text) == 0 else "+") + text


def percent(value: float | None) -> str:
    r"""Return a share in percent with one place below 99.95 %, none at the ends.

    >>> percent(0.375), percent(0.0), percent(1.0), percent(0.0004)
    ('37.5\xa0%', '0\xa0%', '100\xa0%', '0.04\xa0%')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value in (0.0, 1.0):
        return f"{value:.0%}".replace("%", PERCENT)
    places = 2 if 0 < abs(value) < 0.0095 else 1
    return f"{decimal(100 * value, places)}{PERCENT}"


def figure(metric: str | None, value: float | None, *, counted: bool = False) -> str:
    """Return a metric's value in the unit in which this metric is read."""
    return percent(value) if is_share(metric, counted=counted) else decimal(value, 3)


def tick(metric: str | None, value: float, *, counted: bool = False) -> str:
    """Return a value on an axis, as short as it can be.

    >>> tick("auc", 0.5), tick("exact", 0.25), tick("tpr", 0.025)
    ('0.5', '25%', '2.5%')
    """
    return f"{100 * value:g}%" if is_share(metric, counted=counted) else f"{value:.3g}"


def interval(metric: str | None, low: float | None, high: float | None, *, counted: bool = False) -> str:
    """Return an interval of a metric, ``28.8 to 46.8 %``."""
    if low is None or high is None:
        return "no interval"
    if not is_share(metric, counted=counted):
        return f"{decimal(low, 3)}\u00a0to\u00a0{decimal(high, 3)}"
    return f"{percent(low).removesuffix(PERCENT)}\u00a0to\u00a0{percent(high)}"


def outcome(attack: AttackRecord) -> str:
    r"""Return what an attack measured, in words: value, k of n, interval.

    >>> outcome(AttackRecord(name="x", view="V1", arm="a", release="exposed", status="run", metric="exact", value=0.5,
    ...                      k=1, n=2, ci_low=0.1, ci_high=0.9))
    'recovered exactly 50.0\xa0% (1 of 2; 95\xa0% interval 10.0\xa0to\xa090.0\xa0%)'
    """
    counted = attack.k is not None
    parts = [f"{attack.k:,} of {attack.n:,}"] if attack.k is not None and attack.n is not None else []
    span = interval(attack.metric, attack.ci_low, attack.ci_high, counted=counted)
    parts.append(f"95{PERCENT} interval {span}" if attack.ci_low is not None else span)
    return f"{_measured(attack.metric or '', figure(attack.metric, attack.value, counted=counted))} ({'; '.join(parts)})"


def _measured(metric: str, shown: str) -> str:
    """Return a metric and its figure as a sentence says them: who has met no ROC curve has met false alarms."""
    rate = re.fullmatch(r"tpr_at_fpr_(\d+(?:_\d+)?)(?:pct)?", key(metric))
    if rate is None:
        return f"{title(metric)} {shown}"
    alarms = "no false alarm" if rate[1] == "0" else f"{rate[1].replace('_', '.')}{PERCENT} false alarms"
    return f"{shown} of the members found at {alarms}"


def seconds(value: float | None) -> str:
    """Return a duration with the unit that keeps two or three digits.

    >>> seconds(0.0123), seconds(2.5), seconds(90.0), seconds(7200.0), seconds(0.0)
    ('12 ms', '2.5 s', '90 s', '2.0 h', '0 s')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0 s"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (600, 1, "s"), (7200, 1 / 60, "min")):
        if value < limit:
            scaled = value * factor
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{value / 3600:.1f} h"


def count(value: float | None) -> str:
    """Return a whole number with thousands separated.

    >>> count(48714)
    '48,714'
    """
    return DASH if value is None else f"{value:,.0f}"


def span(low: int, high: int) -> str:
    """Return the whole numbers from ``low`` to below ``high`` in words; from a milliard on there is no upper end."""
    return f"{count(low)} to {count(high - 1)}" if high < 10**9 else f"{count(low)} or more"


def small(value: float | None) -> str:
    """Return a tiny number, as powers of ten where that is shorter.

    >>> small(3.2e-7), small(0.25), small(0.0)
    ('3.2 × 10⁻⁷', '0.25', '0')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.3g}".replace("-", "−")
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}".replace("-", "−")


def money(value: float | None, currency: str) -> str:
    """Return an amount to two or three digits: an extrapolation has no more.

    >>> money(1234.5, "EUR"), money(3.456, "EUR"), money(0.0, "EUR")
    ('1,230\xa0EUR', '3.46\xa0EUR', '0\xa0EUR')
    """
    if value is None or not math.isfinite(value):
        return DASH
    digits = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{min(max(digits, 0), 4)}f}\u00a0{currency}"

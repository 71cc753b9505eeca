"""The report's section on differential privacy: both bounds of epsilon, what an audit proved and could have, and infinity."""

from __future__ import annotations

from made_run import made_arm, made_dp

from securefl.records import ArmRecord, AttackRecord
from securefl.report.evidence_tables import privacy_table


def arm(name: str, **changes: object) -> ArmRecord:
    """Return a made-up arm with a changed budget."""
    return made_arm(name).model_copy(update={"dp": made_dp().model_copy(update=changes)})


def test_both_bounds_the_audit_and_its_ceiling_are_shown() -> None:
    canaries = AttackRecord(
        name="canaries", view="V4", arm="dp", release="canaries", status="run", metric="epsilon_lower_bound", value=1.25,
        n=1000, detail={"ceiling": 5.78},
    )  # fmt: skip
    table = privacy_table([arm("dp", epsilon_lower=7.5)], [canaries])
    _, spent, audited, most, unit, *_ = table.rows[0]
    assert (spent.text, spent.order) == ("\u03b5 = 7.94", 7.94)
    assert "no accountant can claim under 7.50" in spent.note
    assert (audited.text, audited.order) == ("\u03b5 \u2265 1.25", 1.25)
    assert most.order == 5.78
    assert (unit.text, unit.note) == ("record", "add or remove one record")


def test_an_infinite_epsilon_says_its_unit_and_clip_and_no_figure() -> None:
    table = privacy_table([arm("dp=inf", epsilon=None, noise_multiplier=0.0, unit="partner"), made_arm("masking")], [])
    bare, without = table.rows
    assert (bare[1].text, bare[1].order) == ("\u03b5 = \u221e", None)
    assert bare[4].text == "partner"
    assert bare[5].note == "clipping norm 1"
    # an arm that never claimed anything is told apart from one that clips
    assert (without[0].text, without[1].text) == ("masking", "none")

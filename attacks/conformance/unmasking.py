"""Both secrets of one partner: by asking twice, and by telling two halves of the partners different survivors.

A partner's masked vector is under its own mask and under those of its pairs. For one and the same partner the others release
either shares of the one secret (it survived) or of the other (it dropped out). Whoever gets both opens its vector.
"""

from __future__ import annotations

from attacks.conformance.lab import MASKING, Deviation, Lab, Outcome, reached
from attacks.conformance.masking_stage import VICTIM, MaskingStage, combined
from securefl.secagg.masking.messages import Phase, ShareKind
from securefl.types import ClientId

TESTS = "tests/attacks/test_conformance_masking.py"
WHAT = "the victim's vector"
NO_SECRETS = Outcome("failed", "too few shares for both secrets of the victim")


def both_shares(lab: Lab) -> Outcome:
    """Finish a round with everybody, then set the partners back and ask them again as if the victim had dropped out."""
    stage = MaskingStage(lab, lab.set_up()).up_to(Phase.MASKED_INPUT)
    before = dict(stage.states)
    stage.up_to(Phase.UNMASK)
    threshold = stage.setup.signed.roster.policy.threshold
    seeds = {c: stage.released(c, ShareKind.SELF_MASK_SEED, VICTIM) for c in stage.clients}
    stage.states = before
    others = [client for client in stage.clients if client != VICTIM]
    for phase in (Phase.CONSISTENCY, Phase.UNMASK):
        stage.ask(phase, others, others)
    keys = {c: stage.released(c, ShareKind.MASK_KEY, VICTIM) for c in others}
    seed, mask_key = combined(seeds, threshold), combined(keys, threshold)
    if seed is None or mask_key is None:
        return NO_SECRETS
    return reached(stage.inputs[VICTIM], stage.unmask(VICTIM, seed, mask_key), WHAT)


def _split(lab: Lab) -> tuple[MaskingStage, list[ClientId], list[ClientId]]:
    """Play up to the consistency round, with one half told that the victim survived, and the other that it dropped out."""
    stage = MaskingStage(lab, lab.set_up(7)).up_to(Phase.MASKED_INPUT)
    others = [client for client in stage.clients if client != VICTIM]
    survived, dropped = others[: len(others) // 2], others[len(others) // 2 :]
    stage.ask(Phase.CONSISTENCY, stage.clients, survived)
    stage.ask(Phase.CONSISTENCY, others, dropped)
    return stage, survived, dropped


def survivor_splitting(lab: Lab) -> Outcome:
    """Tell one half that the victim survived and the other half that it dropped out, each half its own signatures alone."""
    stage, survived, dropped = _split(lab)
    for half in (survived, dropped):
        stage.ask(Phase.UNMASK, half, half)
    threshold = stage.setup.signed.roster.policy.threshold
    seed = combined({c: stage.released(c, ShareKind.SELF_MASK_SEED, VICTIM) for c in survived}, threshold)
    mask_key = combined({c: stage.released(c, ShareKind.MASK_KEY, VICTIM) for c in dropped}, threshold)
    if seed is None or mask_key is None:
        return NO_SECRETS
    return reached(stage.inputs[VICTIM], stage.unmask(VICTIM, seed, mask_key), WHAT)


def mixed_survivors(lab: Lab) -> Outcome:
    """Split as before, then mix both halves' signatures, so that each half sees as many as it wants."""
    stage, survived, dropped = _split(lab)
    for half in (survived, dropped):
        stage.ask(Phase.UNMASK, [*survived, *dropped], half)
    kinds = {c: stage.released(c, ShareKind.MASK_KEY, VICTIM) is None for c in (*survived, *dropped)}
    split = any(kinds.values()) and not all(kinds.values())
    return Outcome("succeeded" if split else "failed", "partners released different kinds of one partner's shares")


BOTH_SHARES = Deviation(
    name="both_shares_of_one_partner",
    view="V5",
    against=MASKING,
    run=both_shares,
    broken=f"{TESTS}::test_clients_that_forget_release_both_secrets",
)
SPLITTING = Deviation(
    name="survivor_splitting",
    view="V5",
    against=MASKING,
    run=survivor_splitting,
    broken=f"{TESTS}::test_a_threshold_under_half_lets_survivors_be_split",
)
MIXED = Deviation(
    name="mixed_survivor_signatures",
    view="V5",
    against=MASKING,
    run=mixed_survivors,
    broken=f"{TESTS}::test_without_the_consistency_check_signatures_are_mixed",
)

"""Attacks on federated training over sparse chemistry inputs: what each party really learns, as figures with intervals.

:func:`attacks.audit.audit` runs everything on one arm of a run. The single attacks also work on an auditor's own tensors:

>>> import numpy as np
>>> from attacks import fingerprint_recovery, union_of_bits
>>> compounds = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]], dtype=float)
>>> update = compounds.T @ np.array([[0.3, -0.1, 0.0, 0.2], [0.0, 0.5, 0.4, 0.0]])
>>> sorted(fingerprint_recovery(update).fingerprints.toarray()[:, :3].tolist())
[[0, 0, 1], [1, 1, 1]]
>>> union_of_bits(update).tolist()
[0, 1, 2, 3, 4, 5, 6, 7]
"""

from __future__ import annotations

from attacks.first_layer.bit_union import could_be_member, union_of_bits
from attacks.first_layer.fingerprint_recovery import Recovery, fingerprint_recovery
from attacks.first_layer.label_inference import Labels, label_inference
from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.membership.lira import lira
from attacks.membership.loss import membership_loss
from attacks.membership.rmia import rmia
from attacks.score import Score, auc, clopper_pearson, min_certifiable_fpr, tpr_at_fpr

__all__ = [
    "AdversaryView",
    "Attack",
    "Claims",
    "Found",
    "Labels",
    "Recovery",
    "Score",
    "auc",
    "clopper_pearson",
    "could_be_member",
    "fingerprint_recovery",
    "label_inference",
    "lira",
    "membership_loss",
    "min_certifiable_fpr",
    "rmia",
    "tpr_at_fpr",
    "union_of_bits",
]

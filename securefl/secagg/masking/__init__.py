"""Pairwise masking that withstands a malicious server (Bonawitz et al. 2017) at memory speed. SPEC.md is for auditors."""

from securefl.secagg.masking.protocol import MaskingOptions, MaskingSetup, PairwiseMasking, Party, set_up
from securefl.secagg.masking.static import StaticMasking, StaticSetup, set_up_static

__all__ = [
    "MaskingOptions",
    "MaskingSetup",
    "PairwiseMasking",
    "Party",
    "StaticMasking",
    "StaticSetup",
    "set_up",
    "set_up_static",
]

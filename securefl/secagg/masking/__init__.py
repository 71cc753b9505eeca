"""Pairwise masking that withstands a malicious server (Bonawitz et al. 2017) at memory speed. SPEC.md is for auditors."""

from securefl.secagg.masking.protocol import MaskingOptions, MaskingSetup, PairwiseMasking, Party, set_up

__all__ = ["MaskingOptions", "MaskingSetup", "PairwiseMasking", "Party", "set_up"]

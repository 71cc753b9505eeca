"""The noise that CKKS's decryptor adds to an opened sum: public, so an attacker counts on it."""

from __future__ import annotations

from securefl.crypto.ckks import CkksParams
from securefl.quantize import Quantizer
from securefl.secagg.ckks_sum import CkksCode, CkksOptions


def flooding_noise(quantizer: Quantizer, parties: int, length: int, *, options: CkksOptions | None = None) -> float:
    """Return the standard deviation of the noise on each of ``length`` opened coordinates, in units of the weighted sum.

    It grows with the square root of the number of ciphertexts in the vector: a short release is less noisy.

    >>> quantizer = Quantizer.for_sum(3, clip=1.0)
    >>> flooding_noise(quantizer, 3, 10_000) < flooding_noise(quantizer, 3, 1_000_000) < 0.05
    True
    """
    chosen = CkksOptions(params=CkksParams()) if options is None else options
    code = CkksCode(
        params=chosen.params,
        quantizer=quantizer,
        clients=parties,
        statistical_bits=chosen.statistical_bits,
        releases=chosen.releases_per_key,
    )
    return code.precision(length).flooding_std * quantizer.step

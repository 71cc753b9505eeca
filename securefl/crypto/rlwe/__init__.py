"""Ring-LWE for sums alone, with t-of-n decryption, in plain numpy: ring, samplers, noise budget, keys, ciphertexts.

No learning and no protocol here; :mod:`securefl.secagg.rlwe_sum` says who sends what to whom and what is guaranteed.
"""

"""Small wrong versions of the product's functions, each of which the tests of INDEX.toml must catch.

A mutant is the function's own source with one place changed, compiled in its module and put in its place for the length of a
test. The first five are what the proofs are most about: half-up for half-even, a flipped sign, a lost share, a reused mask,
a lost self mask.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import product_under_proof


@dataclass(frozen=True)
class Mutant:
    """``function`` (module:qualified.name) with ``old`` replaced by ``new``, everywhere in it."""

    function: str
    old: str
    new: str

    @property
    def name(self) -> str:
        """What a test report calls it."""
        return f"{self.function.split(':')[1]}: {self.old or 'as it is'} -> {self.new}"


KERNEL = "securefl.crypto.keystream:_Kernel.apply"
KEYS = "securefl.secagg.masking.keys:KeySchedule"
CLIENT = "securefl.secagg.masking.client"
SERVER = "securefl.secagg.masking.server"
SHAMIR = "securefl.crypto.shamir"
QUANTIZER = "securefl.quantize:Quantizer"
PAILLIER = "securefl.crypto.paillier"
THRESHOLD = "securefl.crypto.threshold_paillier"
PACKING = "securefl.crypto.packing:Packing"
POLICY = "securefl.secagg.policy:Policy"
GUARD = "securefl.federation.guards:SupportGuard"

MUTANTS = (
    Mutant(f"{QUANTIZER}._round", "np.rint(target, out=target)", "np.floor(target + 0.5)"),
    Mutant(KERNEL, "np.subtract(source, words", "np.add(source, words"),
    Mutant(KERNEL, "source = target", "pass"),
    Mutant(f"{SHAMIR}:combine", "tuple(sorted(shares))", "tuple(sorted(shares)[1:] or sorted(shares))"),
    Mutant(f"{KEYS}.pair_mask", "sorted((own, peer), key=lambda end: end.client)", "own, peer"),
    Mutant(f"{KEYS}.pair_mask", "self._exchange(secret, peer), self._tag(Usage.PAIR_MASK, *fields)", "secret, b'reused'"),
    Mutant(f"{CLIENT}:Shared._masks", "[keys.self_mask(self.secrets.seed, member.me, stream=stream)]", "[]"),
    Mutant(f"{CLIENT}:Shared._masks", "member.me < peer", "member.me > peer"),
    Mutant(f"{CLIENT}:Shared._masks", "circle - {member.me}", "circle - {member.me, max(circle)}"),
    Mutant(f"{CLIENT}:Shared._masked", "self._masks(circle,", "self._masks(circle - {max(circle)},"),
    Mutant(f"{CLIENT}:Checked._release", "owner in self.survivors", "owner not in self.survivors"),
    Mutant("securefl.secagg.masking.static:StaticMasking._masked", "me > peer", "me >= peer or me < peer"),
    Mutant(f"{SERVER}:Opening._masks", "survivor < owner", "survivor > owner"),
    Mutant(f"{SERVER}:Opening.open", "sorted(self.dropped)", "sorted(self.dropped)[1:]"),
    Mutant(f"{SERVER}:Opening._masks", "& self.survivors)", "& self.survivors)[1:]"),
    Mutant(f"{SHAMIR}:split", 'secret.expose(), "little"', 'secret.expose(), "big"'),
    Mutant(f"{SHAMIR}:_evaluate", "value * point + coefficient", "(value + coefficient) * point"),
    Mutant(f"{SHAMIR}:_weights_at_zero", "(other - point)", "(point - other)"),
    Mutant(f"{POLICY}.__post_init__", "2 * self.threshold > self.parties", "2 * self.threshold >= self.parties"),
    Mutant(f"{POLICY}.smallest", "// 2 + 1", "// 2 + 2"),
    Mutant(f"{QUANTIZER}._rounded", "np.clip(chunk, -self.clip, self.clip)", "np.clip(chunk, -2 * self.clip, self.clip)"),
    Mutant(f"{QUANTIZER}.quantize", "steps[part] = rounded", "steps[part] = -rounded"),
    Mutant(f"{QUANTIZER}.encode_update", "signed.dtype.type(weight)", "signed.dtype.type(1)"),
    Mutant(f"{QUANTIZER}._round_stochastic", "grid >> _FRACTION_BITS", "(grid + 32768) >> _FRACTION_BITS"),
    Mutant(f"{QUANTIZER}.encode", "signed.dtype.type(weight)", "signed.dtype.type(1)"),
    Mutant(f"{QUANTIZER}.decode", "np.int32 if", "np.uint32 if"),
    Mutant(f"{QUANTIZER}.require_capacity", "largest >= 1 <<", "largest > 1 <<"),
    Mutant(f"{QUANTIZER}.error_bound", "/ 2", "/ 4"),
    Mutant(f"{PACKING}.pack", "- offset for", "+ 0 for"),
    Mutant(f"{PACKING}.unpack", "int(plaintext) + offset", "int(plaintext) + offset + 1"),
    Mutant(f"{PAILLIER}:PrivateKey.__init__", "!= 1", "== 0"),
    Mutant(f"{PAILLIER}:PrivateKey.decrypt_all", "high - low", "high + low"),
    Mutant(f"{PAILLIER}:_Half.decrypt", "powers(ciphertexts, prime - 1", "powers(ciphertexts, prime"),
    Mutant(f"{PAILLIER}:Encryptor.encrypt_with", "1 + plaintext * self._modulus", "1 - plaintext * self._modulus"),
    Mutant(f"{PAILLIER}:add_ciphertexts", "left * right", "left * left"),
    Mutant(f"{THRESHOLD}:_lagrange", "index - other", "other - index"),
    Mutant(f"{THRESHOLD}:partially_decrypt", "2 * key.delta", "key.delta"),
    Mutant(f"{THRESHOLD}:combine", "2 * _lagrange", "_lagrange"),
    Mutant(f"{THRESHOLD}:deal", "index**power", "index"),
    Mutant(f"{GUARD}.of", "support < k", "support <= k"),
    Mutant(f"{GUARD}.released", "rows[self.withheld] = shared[FIRST_WEIGHT][self.withheld]", "rows[self.withheld] = 0"),
)


def locate(function: str) -> tuple[Any, str]:
    """Return the owner (module or class) and the attribute of ``module:qualified.name``."""
    module, _, path = function.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


def source(function: str) -> str:
    """Return the function's source, decorators included, at the left margin."""
    owner, name = locate(function)
    found = inspect.getattr_static(owner, name)
    inner = getattr(found, "__func__", getattr(found, "__wrapped__", found))
    return textwrap.dedent(inspect.getsource(inner))


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Put the mutant in the function's place, and forget states that the right version made."""
    owner, name = locate(mutant.function)
    text = source(mutant.function)
    assert mutant.old in text, f"{mutant.name}: the function has changed, adapt the mutant"
    module = importlib.import_module(mutant.function.partition(":")[0])
    # compile() inherits this module's deferred annotations, as the product's modules have them.
    code = compile(text.replace(mutant.old, mutant.new), mutant.name, "exec")
    made: dict[str, Any] = {}
    exec(code, vars(module), made)  # noqa: S102  (the mutant runs with its own module's names)
    product_under_proof.recorded.cache_clear()
    try:
        with patch.object(owner, name, made[name]):
            yield
    finally:
        product_under_proof.recorded.cache_clear()

"""A dataset with other fingerprints is what preparation with that size and radius would have made, and pairs with the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from molecules import long_table

from securefl.chem.keyed import public_key
from securefl.chem.prepare import prepare
from securefl.chem.reencode import reencoded
from securefl.chem.table import Columns, table_of
from securefl.config import DataConfig
from securefl.errors import InputError

CONFIG = DataConfig(bits=256, radius=2, partners=3, small_partner_compounds=0, min_train=10, min_test=2, min_test_class=5)


def test_reencoding_is_preparing_with_the_other_size(tmp_path: Path) -> None:
    table, key = table_of(long_table(), Columns(), name="test"), public_key(0)
    first = prepare(table, CONFIG, tmp_path / "first", key=key, cache=tmp_path / "cache")
    wider = CONFIG.model_copy(update={"bits": 512, "radius": 3})
    second = prepare(table, wider, tmp_path / "second", key=key, cache=tmp_path / "cache")
    made = reencoded(first, bits=512, radius=3)
    np.testing.assert_array_equal(made.fingerprints.toarray(), second.fingerprints.toarray())
    assert made.sha256 == second.sha256 != first.sha256
    np.testing.assert_array_equal(made.activities.value, first.activities.value)
    assert reencoded(first, bits=256, radius=2) is first


def test_without_a_known_encoding_it_is_refused(tmp_path: Path) -> None:
    made = prepare(table_of(long_table(n=200), Columns(), name="test"), CONFIG, tmp_path / "data", key=public_key(0))
    with pytest.raises(InputError, match="does not say how its fingerprints were made"):
        reencoded(replace(made, encoding=None), bits=512, radius=2)

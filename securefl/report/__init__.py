"""From the records of a run to a report that can be signed: a pure function of records, policy, prices and a day.

Nothing here measures: every number comes from a record. The consortium's edition shows nothing of a single partner; a partner's
edition adds its own figures, the auditor's has everything (:mod:`securefl.report.editions`). A signature says who vouches for
the report and that no byte of it or of its inputs was changed since (:mod:`securefl.report.attestation`,
:mod:`securefl.report.verify`); it does not say that the records are true.
"""

from securefl.report.assemble import Terms, build
from securefl.report.json_schema import schema

__all__ = ["Terms", "build", "schema"]

"""From the records of a run to ``report.json`` and one self-contained HTML page: a pure function, byte for byte.

Nothing here measures: every number comes from a record. Nothing here is private either: the report shows the consortium
edition, without any partner's own figures, names of tasks, or structures.
"""

from securefl.report.assemble import build
from securefl.report.json_schema import schema

__all__ = ["build", "schema"]

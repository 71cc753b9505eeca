"""The JSON Schema of ``report.json``: made from the record classes, shipped as a file, and checked on every write."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from securefl.errors import VerificationError
from securefl.records import SCHEMA_VERSION, ReportRecord


def generate() -> dict[str, Any]:
    """Return the schema that the record classes mean today; what ships must equal it."""
    schema = ReportRecord.model_json_schema(mode="serialization")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:securefl:report:{SCHEMA_VERSION}",
    }
    return head | schema


def schema() -> dict[str, Any]:
    """Return the JSON Schema of ``report.json`` as it ships.

    >>> schema()["title"]
    'ReportRecord'
    """
    loaded: dict[str, Any] = json.loads((files(__package__) / "report.schema.json").read_text(encoding="utf-8"))
    return loaded


def verify_report(document: object) -> None:
    """Check a parsed ``report.json`` against the schema of the record classes, which a test holds equal to the shipped one.

    Raises:
        VerificationError: it doesn't fit; the message names the first place.
    """
    found = Draft202012Validator(generate()).iter_errors(document)
    errors = sorted(found, key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        where = "/".join(str(part) for part in errors[0].absolute_path) or "report.json"
        raise VerificationError(f"report.json does not fit its schema: {where}: {errors[0].message[:200]}")

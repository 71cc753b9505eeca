"""The bill of materials (CycloneDX 1.6): every package of the run's environment, from the run's own record.

The hash of a package is that of the list of files and hashes that pip wrote at installation; what was changed in place since
shows when the files are compared with that list.
"""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote

from securefl.records import ReportRecord

SUFFIX = ".cdx.json"
_NAMESPACE = uuid.UUID("0b7a5f0e-6f0c-5d2c-9c3a-5ecf1a0c0de5")
"""Names of bills are derived from it, so that the same materials have the same serial number."""


def bill_of_materials(report: ReportRecord) -> bytes:
    """Return the bill as JSON; the packages that the run's record names, by name."""
    toolkit = report.toolkit
    installed = toolkit.dependencies or {name: f"{version} unknown" for name, version in toolkit.packages.items()}
    components = [_component(name, *installed[name].split(" ", 1)) for name in sorted(installed, key=str.lower)]
    named = json.dumps([toolkit.version, toolkit.commit, components], sort_keys=True)
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, named)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "securefl",
                "name": "securefl",
                "version": toolkit.version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "properties": [{"name": "securefl:commit", "value": toolkit.commit}],
            },
            "properties": [{"name": "securefl:python", "value": toolkit.python}],
        },
        "components": components,
    }
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _component(name: str, version: str, digest: str) -> dict[str, object]:
    address = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
    known = [] if digest == "unknown" else [{"name": "securefl:installed-files-sha256", "value": digest}]
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address, "properties": known}

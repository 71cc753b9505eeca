"""The crate: one zip with an edition's files, its signature, and what that edition may have of the records (RO-Crate 1.1).

The auditor's crate holds every input, so that it can be verified and recomputed from itself alone. The other editions' crates
hold no records: what of them their reader may know stands in ``report.json``, and the hashes of all inputs too.
Entries are sorted and dated 1980, so that the same files give the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from securefl.errors import InputError
from securefl.files import write_to_disk
from securefl.records import ReportRecord
from securefl.report.assemble import Terms
from securefl.report.attestation import ENVELOPE_SUFFIX, report_files

SUFFIX = ".crate.zip"
METADATA = "ro-crate-metadata.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_KINDS = {
    ".json": "application/json", ".html": "text/html", ".pdf": "application/pdf", ".svg": "image/svg+xml",
    ".jsonl": "application/jsonl", ".npz": "application/zip", ".toml": "application/toml",
}  # fmt: skip


def write_crate(run: Path, stem: str, report: ReportRecord, terms: Terms) -> Path:
    """Write an edition's crate beside its report and return its path.

    Raises:
        InputError: a file can't be read or written.
    """
    content = report_files(run, stem)
    envelope = run / f"{stem}{ENVELOPE_SUFFIX}"
    if envelope.exists():
        content[envelope.name] = envelope.read_bytes()
    if report.edition.kind == "auditor":
        content |= _inputs(run, report, terms)
    path = run / f"{stem}{SUFFIX}"
    write_to_disk(path, pack(content | {METADATA: metadata(report, content)}))
    return path


def _inputs(run: Path, report: ReportRecord, terms: Terms) -> dict[str, bytes]:
    """Return every input by the name that it has in the report; what lies outside of the run is in ``policy/`` and the like."""
    outside = {f"{kind}:{path.name}": path for kind, path in terms.outside.items()}
    try:
        return {i.name.replace(":", "/"): outside.get(i.name, run / i.name).read_bytes() for i in report.inputs}
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror}") from error


def metadata(report: ReportRecord, content: Mapping[str, bytes]) -> bytes:
    """Return the crate's description of itself (JSON-LD)."""
    parts = [{"@id": name} for name in sorted(content)]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Privacy and performance report, {report.edition.kind} edition",
        "description": f"securefl {report.toolkit.version} on {report.data.name}, configuration {report.config_sha256}",
        "license": report.data.licence,
        "datePublished": report.as_of or "1980-01-01",
        "hasPart": parts,
    }
    described = {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}}
    described["conformsTo"] = {"@id": "https://w3id.org/ro/crate/1.1"}
    files = [
        {"@id": name, "@type": "File", "encodingFormat": _KINDS.get(Path(name).suffix, "application/octet-stream"),
         "contentSize": str(len(content[name]))}
        for name in sorted(content)
    ]  # fmt: skip
    graph = {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [described, root, *files]}
    return json.dumps(graph, indent=1, sort_keys=True).encode() + b"\n"


def pack(content: Mapping[str, bytes]) -> bytes:
    """Return a zip of ``content`` by name: the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content[name])
    return buffer.getvalue()


def unpack(path: Path, folder: Path) -> None:
    """Write what a crate holds into ``folder``.

    Raises:
        InputError: it is no crate, or an entry's name leads out of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                target = (folder / name).resolve()
                if not target.is_relative_to(folder.resolve()) or name.endswith("/"):
                    raise InputError(f"crate {path}: the entry {name!r} leads out of it")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"crate {path}: {error}") from error

"""The page as a PDF/A-3b (extra ``pdf``: WeasyPrint, which needs the system's Pango): same page, same bytes, same fonts.

Pictures go in as SVG files of their own, because a PDF has one theme; folded tables stay folded, as in the browser's print. The
same bytes need the same version of WeasyPrint and the same fonts installed.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from securefl.errors import MissingExtraError
from securefl.report.html import Document, palette

VARIANT = "pdf/a-3b"
_EPOCH = "SOURCE_DATE_EPOCH"


def require_weasyprint() -> Any:
    """Return the library that makes a PDF.

    Raises:
        MissingExtraError: WeasyPrint or the system's Pango is not installed.
    """
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise MissingExtraError(f"a PDF needs the extra 'pdf' (pip install securefl[pdf]) and Pango: {error}") from error
    return weasyprint


def write_pdf(document: Document) -> bytes:
    """Return ``document`` as a PDF.

    Raises:
        MissingExtraError: WeasyPrint or the system's Pango is not installed.
    """
    weasyprint = require_weasyprint()
    html = for_print(document)
    # It warns of every property that paper has no use for, hundreds of lines to a terminal.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    with _fixed_clock():
        made: bytes = weasyprint.HTML(string=html).write_pdf(
            pdf_variant=VARIANT, pdf_identifier=hashlib.sha256(html.encode()).digest()[:16]
        )
    return made


def for_print(document: Document) -> str:
    """Return the page as a printer takes it: fixed colours, pictures as images, no script, folded parts left out."""
    html = document.html
    for name, picture in document.inline.items():
        drawn = base64.b64encode(document.figures[name].encode()).decode()
        html = html.replace(str(picture.wide), f'<img class="printed" alt="" src="data:image/svg+xml;base64,{drawn}">')
        html = html.replace(str(picture.narrow), "")
    html = re.sub(r"<script>.*?</script>|<meta http-equiv[^>]*>", "", html, flags=re.DOTALL)
    html = re.sub(r"<details>(\s*<summary>.*?</summary>).*?</details>", r"<details>\1</details>", html, flags=re.DOTALL)
    colours = palette("print")
    html = re.sub(r"var\(--([\w-]+)\)", lambda found: colours.get(found[1], found[0]), html)
    # WeasyPrint takes hundreds alone, and drops a weight that is none: headings would be thin.
    html = html.replace("font-weight: 650", "font-weight: 700")
    # "anywhere" makes every word's every letter a place to measure: minutes of layout, for the same lines
    html = html.replace("overflow-wrap: anywhere", "overflow-wrap: break-word")
    return html.replace("</style>", "img.printed{width:100%}</style>", 1)


@contextmanager
def _fixed_clock() -> Iterator[None]:
    """Keep the day of the making out of fonts and metadata."""
    before = os.environ.get(_EPOCH)
    os.environ[_EPOCH] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_EPOCH]
        else:
            os.environ[_EPOCH] = before

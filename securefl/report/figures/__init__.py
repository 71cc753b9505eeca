"""The report's pictures: matplotlib drawings, made deterministic and coloured by the page's own variables."""

"""What a first-layer update or a sum of them tells of compounds: rows, fingerprints, labels, who they belong to."""

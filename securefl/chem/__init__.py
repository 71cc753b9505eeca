"""From assay tables to datasets: compounds, fingerprints, folds, tasks, partners."""

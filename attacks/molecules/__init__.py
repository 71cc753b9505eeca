"""From recovered fingerprints to molecules."""

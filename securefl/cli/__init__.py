"""The command line, a file for each verb: the composition root, and the only place that imports both securefl and attacks."""

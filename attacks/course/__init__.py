"""What several rounds tell together: trajectories, differences between releases, whose a compound is."""

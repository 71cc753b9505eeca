"""What is learnt of a partner as a whole: the chemotypes it works on, the quality of its data."""

"""Was this compound trained on? Attacks by loss, by shadow models, from the trunk alone, and their candidates."""

"""The round loop: partners, the operator, guards, and the runs that federated training is compared with.

Nothing is re-exported here: a partner's process of the engine imports this package and must not load torch for a sum.
"""

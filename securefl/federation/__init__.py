"""The round loop: partners, the operator, guards, and the runs that federated training is compared with."""

from securefl.federation.references import train_alone, train_each_alone, train_pooled
from securefl.federation.releases import FirstLayerRelease, RoundTrace, Trained
from securefl.federation.training import train_federated

__all__ = ["FirstLayerRelease", "RoundTrace", "Trained", "train_alone", "train_each_alone", "train_federated", "train_pooled"]

"""Mechanisms and accountants of differential privacy."""

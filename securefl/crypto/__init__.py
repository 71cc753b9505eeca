"""Bytes and integers only: no word of learning appears here."""

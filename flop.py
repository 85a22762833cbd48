"""Secure federated learning for hospitals."""

"""Payments: from a provider's bytes to provider-neutral facts, and from an inbox to their effects."""

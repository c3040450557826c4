"""Stripe: its events, read into provider-neutral facts."""

"""Whop: its events, read into provider-neutral facts."""

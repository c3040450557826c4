"""Fraud: what speaks against a referral, what follows from it, and the reviews in which people decide on it."""

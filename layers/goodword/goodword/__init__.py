"""Goodword: who referred whom, what each person earned and may spend, and what they may use."""

"""Campaigns: terms of their own for referrals by codes of their own, boards of scores, and prizes at the end."""

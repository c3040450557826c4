"""The ledger and what points buy. Knows nothing of referrals."""

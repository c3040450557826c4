"""Programs, codes, clicks, attribution, referrals, facts and awards."""

"""Plans, features and limits: what a user may use, and what was used."""

"""What should stand for a referral, and booking the difference to what stands (docs/awards.md)."""

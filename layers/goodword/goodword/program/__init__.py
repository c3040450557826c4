"""A company's rules, versioned; everything else is handed a Program."""

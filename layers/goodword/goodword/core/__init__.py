"""What every room stands on: settings, database, clock, errors, HTTP, keys, ids."""

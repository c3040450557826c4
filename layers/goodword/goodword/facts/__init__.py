"""What is known of people, in any order; the only room that takes identity locks."""

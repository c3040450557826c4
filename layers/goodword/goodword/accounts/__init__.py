"""Companies, their keys, their users and what these did."""

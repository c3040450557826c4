"""What is asked of all rooms together: statements, integrity; read only."""

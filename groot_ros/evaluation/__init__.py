"""What a recorded run tells: figures, tables, pictures."""

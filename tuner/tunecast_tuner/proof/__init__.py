"""What a start's log, files and answers prove."""

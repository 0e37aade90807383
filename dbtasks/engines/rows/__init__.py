"""What both engines do alike with a rows backup: its document written, read, refused and compared."""

"""Single tables of an archive come back into the live file, in one transaction."""

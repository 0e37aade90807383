"""Single tables of an archive come back: chosen, planned and loaded in one transaction of the live database."""

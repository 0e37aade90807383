"""Dumping by pg_dump: what may be dumped is proved first, then it writes while our snapshot is held."""

"""A backup loaded to be looked at: into a scratch database, or on a throwaway server of our own."""

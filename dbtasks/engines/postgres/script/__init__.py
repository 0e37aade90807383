"""A plain SQL script on its way to psql: told apart, judged, and fed in under one transaction of ours."""

"""The older file of the rows shape: read, and its plain JSON values given a meaning by the column they go to."""

"""A whole database comes back: planned (`fit`), then loaded beside the live one or in place of its contents."""

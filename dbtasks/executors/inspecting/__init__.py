"""What db.info looks at beside the database: the store, files others can read, the forecast, what stands around."""

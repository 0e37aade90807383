"""What a migration is made of: asked, planned, its two sides, what it wrote down."""

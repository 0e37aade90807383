"""What a restore, an undo and a proof share: where it goes, what is kept of the present, what killed ones left."""

"""A migration thought through before anything is touched, and what proves it afterwards."""

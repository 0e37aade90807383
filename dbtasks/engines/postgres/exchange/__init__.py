"""The exchange of names, its way back, and the databases that exchanges, failures and kills leave behind."""

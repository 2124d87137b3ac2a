"""What the notebooks use beside the instruments: guesses, checks, the ledger and the playground."""

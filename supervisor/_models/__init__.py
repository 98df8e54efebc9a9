"""The frozen values that travel through supervisor, and the words for their kinds and outcomes."""

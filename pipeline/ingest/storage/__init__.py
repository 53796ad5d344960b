"""Files and folders by path or URL, and what the ingest writes into them."""

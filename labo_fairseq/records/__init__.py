"""What runs leave behind: logs, run folders, predictions, text, and the tables made of them. No torch."""

"""Every plot and page. No torch; matplotlib in style.py alone."""

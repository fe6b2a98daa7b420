"""`labo experiment`: methods × seeds × directions from one file, each cell a resumable folder."""

"""One thin file for each subcommand of `labo`: it reads arguments, calls a room below, prints."""

"""One test or more for each row of `rows.txt`, one file for each of its letters."""

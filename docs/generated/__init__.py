"""What the reference takes from the code: Markdown, made while the site is built."""

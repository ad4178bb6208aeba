"""The walk of a prompt, and the ways in: command line, web page, batch."""

"""One file per metric, from files, so that it scores anyone's songs."""

"""A small recogniser of sung Mandarin: toneless syllables, frame by frame, with CTC."""

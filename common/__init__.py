"""What two rooms need: the types at the doors, errors, audio, checkpoints, seeds. Imports no other room."""

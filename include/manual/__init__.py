"""Pages of the documentation that are made from the code. Only a checkout has it, the wheel does not."""

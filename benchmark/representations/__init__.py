"""What the tokens of a trained backbone contain, block by block: linear probes and measures of representations."""

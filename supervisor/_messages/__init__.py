"""Pure steps from what is known of a run to what a person reads."""

"""What must be made: stages, their keys, the plan of a grid."""

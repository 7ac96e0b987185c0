"""The stages that a run goes through, and the graph that ties them."""

"""The exit policies: how a sample decides to leave."""

from methods.api import Card

POLICIES: dict[str, Card] = {
    "confidence": Card(
        target="methods.policies.confidence:Confidence",
        summary="leave at the first exit whose largest probability exceeds the threshold",
    ),
}

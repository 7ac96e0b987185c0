"""The registry of losses."""

from methods.api import Card

LOSSES: dict[str, Card] = {
    "self-distillation": Card(
        target="methods.losses.self_distillation:SelfDistillation",
        code_version=2,
        summary="heads on a frozen backbone: cross-entropy, distillation from the final exit, LGViT's two feature terms",
    ),
    "joint-cross-entropy": Card(
        target="methods.losses.joint_cross_entropy:JointCrossEntropy",
        code_version=2,
        summary="backbone and heads together: cross-entropy of all exits, weighted or in turns with the final one alone",
    ),
    "jei": Card(
        target="methods.losses.jei:JEILoss",
        summary="heads and gates of JEI-DNN in turns: which exit is worth its cost",
        code_version=2,
    ),
}

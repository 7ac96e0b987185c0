"""The registry of exit policies, the rules that decide at which exit a sample exits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from methods.api import ALL_TASKS, DETECTION, SEGMENTATION, PolicyCard
from methods.lookup import configured, registered_outside, unknown

if TYPE_CHECKING:
    from methods.policies.policy import ExitPolicy

POLICIES: dict[str, PolicyCard] = {
    "confidence": PolicyCard(
        target="methods.policies.confidence:Confidence",
        summary="largest probability > threshold",
        fixed_threshold_ignores_val=True,
    ),
    "margin": PolicyCard(
        target="methods.policies.margin:Margin",
        summary="largest - second largest probability > threshold",
        fixed_threshold_ignores_val=True,
    ),
    "entropy": PolicyCard(
        target="methods.policies.entropy:Entropy",
        summary="entropy < threshold",
        fixed_threshold_ignores_val=True,
        citation="Teerapittayanon et al., ICPR 2016",
    ),
    "patience": PolicyCard(
        target="methods.policies.patience:Patience",
        summary="enough successive exits agree",
        citation="Zhou et al., NeurIPS 2020",
    ),
    "pcee": PolicyCard(
        target="methods.policies.pcee:PCEE",
        summary="entropy < threshold at several exits in a row",
        citation="Zhang et al., NAACL Findings 2022",
    ),
    "sdn": PolicyCard(
        target="methods.policies.sdn:SDN",
        code_version=2,
        summary="confidence >= threshold, else the most confident of all predictions",
        citation="Kaya et al., ICML 2019",
    ),
    "beem": PolicyCard(
        target="methods.policies.beem:BEEM",
        summary="confidences of agreeing exits add up to the threshold",
        citation="ICLR 2025, arXiv 2502.00745",
    ),
    "poe-relu": PolicyCard(
        target="methods.policies.anytime:ReLUProduct",
        summary="product of the positive logits of all exits so far: largest probability > threshold",
        fixed_threshold_ignores_val=True,
        citation="Jazbec et al., NeurIPS 2023, arXiv 2306.02652",
    ),
    "poe-softmax": PolicyCard(
        target="methods.policies.anytime:SoftmaxProduct",
        summary="product of the probabilities of all exits so far: largest probability > threshold",
        fixed_threshold_ignores_val=True,
    ),
    "caching": PolicyCard(
        target="methods.policies.anytime:Caching",
        summary="confidence > threshold; the answer is that of the most confident exit so far",
        fixed_threshold_ignores_val=True,
        citation="Jazbec et al., NeurIPS 2023, arXiv 2306.02652",
    ),
    "ztw-geometric": PolicyCard(
        target="methods.policies.ztw:GeometricEnsemble",
        summary="ensemble fitted on val (weighted mean of log-probabilities): largest probability > threshold",
        citation="Wołczyk et al., NeurIPS 2021; Neural Networks 2023",
    ),
    "ztw-arithmetic": PolicyCard(
        target="methods.policies.ztw:ArithmeticEnsemble",
        summary="ensemble fitted on val (weighted sum of probabilities): largest probability > threshold",
        citation="Wołczyk et al., NeurIPS 2021; Neural Networks 2023",
    ),
    "bin-accuracy": PolicyCard(
        target="methods.policies.bin_accuracy:BinAccuracy",
        summary="accuracy on val of the images with similar confidence at this exit >= target",
        citation="arXiv 2412.19325",
    ),
    "budgeted": PolicyCard(
        target="methods.policies.budgeted:Budgeted",
        code_version=3,
        summary="one threshold per exit, solved on val for a mean cost",
        citation="Huang et al., ICLR 2018",
    ),
    "running-quantile": PolicyCard(
        target="methods.policies.running_quantile:RunningQuantile",
        summary="thresholds of budgeted that follow the confidences at each exit, so that the cost stays on budget",
        citation="the idea of BASHLab/jolt-early-exit, 2026",
    ),
    "eenet": PolicyCard(
        target="methods.policies.eenet:EENet",
        summary="learned exit score >= threshold, from a schedule learned on val for a mean cost",
        trains_networks=True,
        citation="Ilhan et al., WACV 2024, arXiv 2301.07099",
    ),
    "crc": PolicyCard(
        target="methods.policies.risk_control:CRC",
        summary="conformal risk control: bounds the risk in expectation",
        citation="Angelopoulos et al., arXiv 2208.02814",
    ),
    "ltt": PolicyCard(
        target="methods.policies.risk_control:LTT",
        summary="learn then test: bounds the risk with high probability",
        citation="Angelopoulos et al., arXiv 2110.01052",
    ),
    "confidence-scaled": PolicyCard(
        target="methods.policies.temperature:ScaledConfidence",
        summary="confidence at temperatures fitted on val",
        citation="Guo et al., ICML 2017",
    ),
    "margin-scaled": PolicyCard(
        target="methods.policies.temperature:ScaledMargin",
        summary="margin at temperatures fitted on val",
        citation="Guo et al., ICML 2017",
    ),
    "entropy-scaled": PolicyCard(
        target="methods.policies.temperature:ScaledEntropy",
        summary="entropy at temperatures fitted on val",
        citation="Guo et al., ICML 2017",
    ),
    "jei": PolicyCard(
        target="methods.policies.jei:JEI",
        summary="gate of the exit / (1 - sum of the earlier gates) >= threshold",
        fixed_threshold_ignores_val=True,
        reads_gates=True,
        citation="Regol et al., ICLR 2024, arXiv 2310.09163",
    ),
    "learned-gate": PolicyCard(
        target="methods.policies.learned_gate:LearnedGate",
        summary="the gate's predicted error < threshold; needs heads that have a gate (berxit)",
        reads_gates=True,
        citation="Xin et al., EACL 2021",
    ),
    "map-confidence": PolicyCard(
        target="methods.policies.map_signals:MapConfidence",
        summary="for maps: mean, share, quantile, entropy, margin or agreement of the patches > threshold (score)",
        fixed_threshold_ignores_val=True,
        tasks=(SEGMENTATION,),
    ),
    "box-confidence": PolicyCard(
        target="methods.policies.box_signals:BoxConfidence",
        code_version=2,
        summary="for boxes: router, agreement, top-mean or entropy > threshold (score)",
        fixed_threshold_ignores_val=True,
        tasks=(DETECTION,),
    ),
    "oracle": PolicyCard(
        target="methods.policies.controls:Oracle", summary="control: the first exit that classifies correctly"
    ),
    "random": PolicyCard(
        target="methods.policies.controls:Random", summary="control: exits at random", tasks=ALL_TASKS
    ),
}


def get_policy(name: str, **parameters: Any) -> ExitPolicy:
    """Create the policy registered as ``name``, by this package or by another installed package.

    Raises:
        ValueError: the name or a parameter is unknown, or a value is invalid; the message lists the valid ones.
        EntryPointError: a package registers a policy that cannot be loaded.
    """
    cards = POLICIES if name in POLICIES else registered_outside("policy") | POLICIES  # one may not be loadable
    if name not in cards:
        raise ValueError(unknown("policy", name, cards))
    return configured("policy", name, cards[name].load(), parameters)

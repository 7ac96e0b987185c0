"""Boxes of objects: the maps that a detector gives, their loss, and the boxes that are read from them.

One level of FCOS (Tian et al., ICCV 2019, arXiv 1904.01355; details as in torchvision 0.29, models/detection/fcos.py): every
cell of the patch grid gives the logits of the classes, four distances from its centre to the sides of a box, and a centerness.
Places are shares of the sides of the input, so that nothing depends on its size.
"""

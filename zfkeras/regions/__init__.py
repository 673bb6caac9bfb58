"""Boxes of units: how a layer's windows carry them up and down, and what to compute together.

A change in the image goes up (`zfkeras.analysis.incremental`), the signal of a unit comes down
(`zfkeras.deconvnet.local`), and both stay within boxes that a layer's windows tell:

* `windows`: the sliding window of a layer along one axis, and the spans of rows that it carries.
* `receptive_field`: windows folded from the pixels up to a layer.
* `merging`: which boxes are worth computing together.
"""

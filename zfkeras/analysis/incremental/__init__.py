"""Exact occlusion that recomputes only what the occluder can change, layer by layer.

Hiding one part of an image changes, in every map of a convnet, a box of units; the rest is that
of the whole image. The occluder's places form a grid, so the boxes of one map do too: each is the
product of a span of rows and a span of columns. The pixels of all boxes of a map are one list, the
*mosaic*, on which most layers run as they do on any picture (`mosaic`). The modules, bottom up:

* `partitions`: which boxes go through a layer together.
* `mosaic`: the list, and where in it each pixel is; `axes`: the index vectors for a window.
* `operations`, `sliding`, `single_map`: what operations do to whole maps and to mosaics.
* `layers`: which Keras layers are which operations.
* `steps`: a walked model as operations; `costs`: what they cost.
* `planning`: which operations run on which boxes, task by task.
* `sweep`: one sweep of the occluder over one image.
* `coarse`: which places to look at, if not all.
* `run`: the sweeps over all images.
"""

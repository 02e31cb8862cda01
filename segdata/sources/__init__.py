"""Whatever can be read as samples, and what is known of it.

dataset.py        a dataset folder or a pack, opened alike: `Dataset`
evaluation.py     the two inputs of an evaluation: ground truth and predictions
image_folder.py   a folder of images, without annotations
describe.py       what a folder or a pack holds, without reading images
listing.py        the datasets that are known by name, and what of them is on disk
"""

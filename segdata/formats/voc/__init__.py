"""PASCAL VOC: XML, class and object masks, image sets."""

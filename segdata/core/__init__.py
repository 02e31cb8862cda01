"""The vocabulary: categories, samples, masks, images, and what is counted about them."""

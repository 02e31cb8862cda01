"""Images, masks, categories and samples: the data model, in NumPy, without files of any dataset."""

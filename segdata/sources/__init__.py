"""Whatever can be read as samples: dataset folders, packs, image folders, predictions."""

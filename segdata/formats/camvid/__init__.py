"""CamVid: frames and label maps in three layouts."""

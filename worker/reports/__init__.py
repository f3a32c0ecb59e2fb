"""What the system tells about itself: conditions that need somebody, and the words for faults and outcomes."""

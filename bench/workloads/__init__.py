"""What is measured, one file each: what is done to the servers, in which order, and which counts must agree."""

"""What is known about published datasets: manifests, addresses, label spaces."""

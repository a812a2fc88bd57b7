"""What the demo and the end-to-end tests share: a cluster, our images, our chart, and kubectl. Stdlib only."""

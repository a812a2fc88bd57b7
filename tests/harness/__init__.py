"""What the demo and the end-to-end tests share: cluster, images, chart and kubectl. It is stdlib only."""

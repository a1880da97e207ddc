"""Side-by-side benchmark of this project and its peers; see README.md."""

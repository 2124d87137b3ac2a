"""What an instructor may read: training many seeds, theory, the verdict, and the only contact with Keras's inside."""

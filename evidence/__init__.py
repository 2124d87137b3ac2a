"""What the course rests on: experiments that fill the folder data, and measure it again. Not part of the package."""

import vgp_lib  # noqa: F401  before Keras: it silences TensorFlow

"""Steps of the build, run by `make`; no part of what is deployed or served."""

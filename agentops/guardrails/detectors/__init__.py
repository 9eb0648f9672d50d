"""What detectors look for, one family a module; `matching` finds their patterns in linear time."""

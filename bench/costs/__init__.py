"""What one more lamp, target, viewer, reading or device costs, each measured at several sizes."""

"""Prediction error variances and reliabilities."""

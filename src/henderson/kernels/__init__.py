"""Compiled loops on plain arrays; nothing here knows a model."""

"""Checks, order, inbreeding and reports of pedigrees."""

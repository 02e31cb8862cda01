"""Licences accepted, sign-ins and kept sessions."""

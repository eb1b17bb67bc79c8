"""The vocabulary of Toolgrove: plain values that need nothing but the standard library."""

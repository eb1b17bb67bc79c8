"""Models on disk and in memory: fetching, loading, adapters, merging."""

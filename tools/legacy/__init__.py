"""Job files of AI Platform Training, which was shut down in 2025; `tools/migrate_config.py` converts them."""

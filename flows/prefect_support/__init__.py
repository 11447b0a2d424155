"""Support Prefect: its environment, its temporary server, runs left open by killed processes."""

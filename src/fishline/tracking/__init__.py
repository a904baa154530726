"""MLflow: the store, runs, registered versions; where a result comes from."""

"""Read models from MLflow's registry; mlflow, of the extra `pipeline`, is imported in functions alone."""

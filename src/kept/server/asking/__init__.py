"""The gate before the views of a company's own application: FastAPI, Django and Flask, a module for each."""

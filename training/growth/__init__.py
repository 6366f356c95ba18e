"""Patients over time, for measuring how lesions are followed; and the forecaster's training."""
